// Updates over HTTP.
#pragma once
#include <Arduino.h>
#include <WiFi.h>

class HTTPUpdate {
 public:
  bool update(WiFiClient &client, const char *host, uint16_t port, const char *uri);
};

extern HTTPUpdate httpUpdate;
