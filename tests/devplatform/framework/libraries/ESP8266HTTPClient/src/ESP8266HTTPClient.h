// An HTTP client: every request fails to connect.
#pragma once
#include <Arduino.h>
#include <WiFiClient.h>

#define HTTPC_ERROR_CONNECTION_FAILED (-1)
#define HTTPC_ERROR_CONNECTION_LOST (-5)

enum { HTTP_CODE_OK = 200, HTTP_CODE_NOT_MODIFIED = 304, HTTP_CODE_NOT_FOUND = 404 };

typedef enum {
  HTTPC_DISABLE_FOLLOW_REDIRECTS,
  HTTPC_STRICT_FOLLOW_REDIRECTS,
  HTTPC_FORCE_FOLLOW_REDIRECTS
} followRedirects_t;

class HTTPClient {
 public:
  bool begin(WiFiClient &client, const String &url);
  bool begin(WiFiClient &client, const String &host, uint16_t port, const String &uri = "/", bool https = false);
  void end() {}
  bool connected() { return false; }
  void setReuse(bool) {}
  void setUserAgent(const String &) {}
  void setAuthorization(const char *, const char *) {}
  void setTimeout(uint16_t) {}
  void setFollowRedirects(followRedirects_t) {}
  void useHTTP10(bool = true) {}
  int GET();
  int POST(const String &payload);
  void addHeader(const String &, const String &, bool = false, bool = true) {}
  void collectHeaders(const char *[], const size_t) {}
  String header(const char *) { return String(); }
  bool hasHeader(const char *) { return false; }
  int getSize() { return -1; }
  WiFiClient *getStreamPtr() { return nullptr; }
  const String &getString() { return emptyString; }
  static String errorToString(int error);
};
