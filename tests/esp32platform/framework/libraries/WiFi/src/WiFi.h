// Wi-Fi.
#pragma once
#include <Arduino.h>

class WiFiClient {
 public:
  int connect(const char *host, uint16_t port);
  int read(uint8_t *buffer, size_t size);
};
