// Wi-Fi: never connected.
#include "ESP8266WiFi.h"

ESP8266WiFiClass WiFi;

wl_status_t ESP8266WiFiClass::begin(const char *, const char *) { return status(); }
wl_status_t ESP8266WiFiClass::begin(const String &, const String &) { return status(); }
wl_status_t ESP8266WiFiClass::status() { return WL_DISCONNECTED; }
int8_t ESP8266WiFiClass::waitForConnectResult(unsigned long) { return WL_DISCONNECTED; }
bool ESP8266WiFiClass::disconnect(bool) { return true; }
bool ESP8266WiFiClass::reconnect() { return false; }
int ESP8266WiFiClass::hostByName(const char *name, IPAddress &address) { return address.fromString(name); }
