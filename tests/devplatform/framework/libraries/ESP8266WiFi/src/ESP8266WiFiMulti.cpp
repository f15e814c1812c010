// Connects to the first known network in reach: on the host, to none.
#include "ESP8266WiFiMulti.h"

bool ESP8266WiFiMulti::addAP(const char *ssid, const char *) { return ssid && *ssid; }
bool ESP8266WiFiMulti::existsAP(const char *, const char *) { return false; }
wl_status_t ESP8266WiFiMulti::run(uint32_t) { return WiFi.status(); }
