// The HTTP client of arduino-esp32: it takes a connection that stands already, and shows only the headers that were asked
// for.
#pragma once
#include <WiFiClient.h>

#include <map>
#include <string>

#define HTTPC_ERROR_CONNECTION_REFUSED (-1)
#define HTTPC_ERROR_SEND_HEADER_FAILED (-2)
#define HTTPC_ERROR_CONNECTION_LOST (-5)
#define HTTPC_ERROR_NO_HTTP_SERVER (-7)
#define HTTPC_ERROR_ENCODING (-9)

enum { HTTP_CODE_OK = 200, HTTP_CODE_ACCEPTED = 202, HTTP_CODE_PARTIAL_CONTENT = 206, HTTP_CODE_NOT_MODIFIED = 304 };
enum { HTTP_CODE_UNAUTHORIZED = 401, HTTP_CODE_FORBIDDEN = 403 };
enum { HTTP_CODE_NOT_FOUND = 404 };

class HTTPClient {
 public:
  ~HTTPClient();
  bool begin(WiFiClient &client, String host, uint16_t port, String uri = "/", bool https = false);
  void end();
  void useHTTP10(bool = true) {}
  void setTimeout(uint16_t) {}
  void setUserAgent(const String &agent) { _agent = agent.c_str(); }
  void addHeader(const String &name, const String &value, bool first = false, bool replace = true);
  void collectHeaders(const char *names[], size_t count);
  String header(const char *name);
  int GET() { return sendRequest("GET"); }
  int sendRequest(const char *type, uint8_t *payload = nullptr, size_t size = 0);
  int getSize() { return _size; }
  WiFiClient *getStreamPtr();

 private:
  int answer();

  WiFiClient *_client = nullptr;
  std::string _host, _uri, _headers, _agent = "ESP32HTTPClient";
  std::map<std::string, std::string> _collected;
  uint16_t _port = 0;
  int _size = -1;
};
