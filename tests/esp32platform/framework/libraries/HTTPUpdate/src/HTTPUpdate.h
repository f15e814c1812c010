// Updates over HTTP.
#pragma once
#include <WiFi.h>

class HTTPUpdate {
 public:
  HTTPUpdate();
  int update(WiFiClient &client, const char *host, uint16_t port, const char *uri);

 private:
  bool runUpdate(WiFiClient &in, uint32_t size);
  int _timeout;
};

extern HTTPUpdate httpUpdate;
