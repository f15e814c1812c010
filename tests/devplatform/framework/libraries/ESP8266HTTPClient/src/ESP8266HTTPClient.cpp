// An HTTP client: every request fails to connect.
#include "ESP8266HTTPClient.h"

bool HTTPClient::begin(WiFiClient &, const String &url) { return url.startsWith("http"); }
bool HTTPClient::begin(WiFiClient &, const String &host, uint16_t, const String &, bool) { return !host.isEmpty(); }
int HTTPClient::GET() { return HTTPC_ERROR_CONNECTION_FAILED; }
int HTTPClient::POST(const String &) { return HTTPC_ERROR_CONNECTION_FAILED; }
String HTTPClient::errorToString(int error) { return error < 0 ? F("connection failed") : F(""); }
