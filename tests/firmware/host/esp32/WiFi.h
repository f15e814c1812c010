// Wi-Fi of arduino-esp32.
#pragma once
#include <Arduino.h>
#include <WiFiClient.h>

typedef enum { WL_IDLE_STATUS = 0, WL_CONNECTED = 3, WL_DISCONNECTED = 6 } wl_status_t;

typedef enum { WIFI_STA = 1 } wifi_mode_t;

class WiFiClass {
 public:
  bool mode(wifi_mode_t) { return true; }
  wl_status_t begin(const char *, const char *) { return status(); }
  wl_status_t status();
  uint8_t *macAddress(uint8_t *mac);
  String macAddress();
  String softAPmacAddress() { return "24:6F:28:00:00:02"; }
};

extern WiFiClass WiFi;
