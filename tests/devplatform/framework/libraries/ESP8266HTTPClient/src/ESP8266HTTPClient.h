// An HTTP client.
#pragma once
#include <Arduino.h>
#include <WiFiClient.h>

#define HTTPC_ERROR_CONNECTION_FAILED (-1)
#define HTTPC_ERROR_NOT_CONNECTED (-4)
#define HTTPC_ERROR_CONNECTION_LOST (-5)
#define HTTPC_ERROR_NO_HTTP_SERVER (-7)
#define HTTPC_ERROR_ENCODING (-9)
#define HTTPC_ERROR_READ_TIMEOUT (-11)

enum { HTTP_CODE_OK = 200, HTTP_CODE_ACCEPTED = 202, HTTP_CODE_PARTIAL_CONTENT = 206, HTTP_CODE_NOT_MODIFIED = 304 };
enum { HTTP_CODE_UNAUTHORIZED = 401, HTTP_CODE_FORBIDDEN = 403 };
enum { HTTP_CODE_NOT_FOUND = 404 };

typedef enum {
  HTTPC_DISABLE_FOLLOW_REDIRECTS,
  HTTPC_STRICT_FOLLOW_REDIRECTS,
  HTTPC_FORCE_FOLLOW_REDIRECTS
} followRedirects_t;

class HTTPClient {
 public:
  HTTPClient();
  bool begin(WiFiClient &client, const String &url);
  bool begin(WiFiClient &client, const String &host, uint16_t port, const String &uri = "/", bool https = false);
  void end();
  bool connected() { return false; }
  void setReuse(bool) {}
  void setUserAgent(const String &agent);
  void setAuthorization(const char *, const char *) {}
  void setTimeout(uint16_t) {}
  void setFollowRedirects(followRedirects_t) {}
  void useHTTP10(bool = true) {}
  int GET();
  int sendRequest(const char *type, const uint8_t *payload = nullptr, size_t size = 0);
  int POST(const String &payload);
  void addHeader(const String &name, const String &value, bool first = false, bool replace = true);
  void collectHeaders(const char *names[], const size_t count);
  String header(const char *name);
  bool hasHeader(const char *) { return false; }
  int getSize();
  WiFiClient *getStreamPtr();
  const String &getString() { return emptyString; }
  static String errorToString(int error);

 private:
  struct Exchange;
  Shared<Exchange> _exchange;
};
