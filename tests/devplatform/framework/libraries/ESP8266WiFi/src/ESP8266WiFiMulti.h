// Connects to the first known network in reach: on the host, to none.
#pragma once
#include "ESP8266WiFi.h"

class ESP8266WiFiMulti {
 public:
  bool addAP(const char *ssid, const char *passphrase = nullptr);
  bool existsAP(const char *ssid, const char *passphrase = nullptr);
  wl_status_t run(uint32_t timeout = 5000);
  void cleanAPlist() {}
};
