// Wi-Fi.
#pragma once
#include <Arduino.h>
#include <IPAddress.h>

#include "BearSSLHelpers.h"
#include "CertStoreBearSSL.h"
#include "WiFiClient.h"
#include "WiFiClientSecure.h"

typedef enum {
  WL_NO_SHIELD = 255,
  WL_IDLE_STATUS = 0,
  WL_NO_SSID_AVAIL = 1,
  WL_SCAN_COMPLETED = 2,
  WL_CONNECTED = 3,
  WL_CONNECT_FAILED = 4,
  WL_CONNECTION_LOST = 5,
  WL_WRONG_PASSWORD = 6,
  WL_DISCONNECTED = 7
} wl_status_t;

typedef enum WiFiMode { WIFI_OFF = 0, WIFI_STA = 1, WIFI_AP = 2, WIFI_AP_STA = 3 } WiFiMode_t;

class ESP8266WiFiClass {
 public:
  static void persistent(bool) {}
  bool mode(WiFiMode_t) { return true; }
  WiFiMode_t getMode() { return WIFI_OFF; }
  wl_status_t begin(const char *ssid, const char *passphrase = nullptr);
  wl_status_t begin(const String &ssid, const String &passphrase = emptyString);
  wl_status_t status();
  int8_t waitForConnectResult(unsigned long timeout = 60000);
  bool disconnect(bool wifi_off = false);
  bool reconnect();
  bool isConnected() { return status() == WL_CONNECTED; }
  bool setAutoReconnect(bool) { return true; }
  bool hostname(const String &) { return true; }
  String hostname() { return String(); }
  int hostByName(const char *name, IPAddress &address);
  IPAddress localIP() { return IPAddress(); }
  IPAddress gatewayIP() { return IPAddress(); }
  uint8_t *macAddress(uint8_t *mac);
  String macAddress();
  String softAPmacAddress() { return "00:00:00:00:00:00"; }
  String SSID() const { return String(); }
  int8_t RSSI() { return 31; }
};

extern ESP8266WiFiClass WiFi;
