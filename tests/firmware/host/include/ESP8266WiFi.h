// Wi-Fi, as far as an update looks at it.
#pragma once
#include <Arduino.h>

#include <BearSSLHelpers.h>
#include <CertStoreBearSSL.h>
#include <WiFiClient.h>
#include <WiFiClientSecure.h>

enum wl_status_t { WL_CONNECTED = 3, WL_DISCONNECTED = 7 };

struct ESP8266WiFiClass {
  wl_status_t status() { return chip.online ? WL_CONNECTED : WL_DISCONNECTED; }
};

extern ESP8266WiFiClass WiFi;
