// Wi-Fi.
#pragma once
#include <Arduino.h>

class WiFiClient {
 public:
  int connect(const char *host, uint16_t port);
};
