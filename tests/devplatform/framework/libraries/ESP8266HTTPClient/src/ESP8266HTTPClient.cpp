// An HTTP client: every request fails to connect.
#include "ESP8266HTTPClient.h"

struct HTTPClient::Exchange {};

HTTPClient::HTTPClient() {}
void HTTPClient::end() {}
void HTTPClient::setUserAgent(const String &) {}
void HTTPClient::addHeader(const String &, const String &, bool, bool) {}
void HTTPClient::collectHeaders(const char *[], const size_t) {}
String HTTPClient::header(const char *) { return String(); }
int HTTPClient::getSize() { return -1; }
WiFiClient *HTTPClient::getStreamPtr() { return nullptr; }
bool HTTPClient::begin(WiFiClient &, const String &url) { return url.startsWith("http"); }
bool HTTPClient::begin(WiFiClient &, const String &host, uint16_t, const String &, bool) { return !host.isEmpty(); }
int HTTPClient::GET() { return HTTPC_ERROR_CONNECTION_FAILED; }
int HTTPClient::sendRequest(const char *, const uint8_t *, size_t) { return HTTPC_ERROR_CONNECTION_FAILED; }
int HTTPClient::POST(const String &) { return HTTPC_ERROR_CONNECTION_FAILED; }
String HTTPClient::errorToString(int error) { return error < 0 ? F("connection failed") : F(""); }
