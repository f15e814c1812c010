// Wi-Fi of arduino-esp32.
#pragma once
#include <Arduino.h>
#include <WiFiClient.h>

typedef enum { WL_IDLE_STATUS = 0, WL_CONNECTED = 3, WL_DISCONNECTED = 6 } wl_status_t;

class WiFiClass {
 public:
  wl_status_t status();
  String macAddress() { return "24:6F:28:00:00:01"; }
  String softAPmacAddress() { return "24:6F:28:00:00:02"; }
};

extern WiFiClass WiFi;
