// Wi-Fi: never connected.
#include "ESP8266WiFi.h"

ESP8266WiFiClass WiFi;

wl_status_t ESP8266WiFiClass::begin(const char *, const char *) { return status(); }
wl_status_t ESP8266WiFiClass::begin(const String &, const String &) { return status(); }
uint8_t *ESP8266WiFiClass::macAddress(uint8_t *mac) { return static_cast<uint8_t *>(memset(mac, 0, 6)); }
String ESP8266WiFiClass::macAddress() { return "00:00:00:00:00:00"; }
wl_status_t ESP8266WiFiClass::status() { return WL_DISCONNECTED; }
int8_t ESP8266WiFiClass::waitForConnectResult(unsigned long) { return WL_DISCONNECTED; }
bool ESP8266WiFiClass::disconnect(bool) { return true; }
bool ESP8266WiFiClass::reconnect() { return false; }
int ESP8266WiFiClass::hostByName(const char *name, IPAddress &address) { return address.fromString(name); }
