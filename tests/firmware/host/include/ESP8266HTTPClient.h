// An HTTP client, as far as an update asks it.
#pragma once
#include <WiFiClient.h>

#include <string>

#define HTTPC_ERROR_CONNECTION_FAILED (-1)
#define HTTPC_ERROR_NOT_CONNECTED (-4)
#define HTTPC_ERROR_CONNECTION_LOST (-5)
#define HTTPC_ERROR_NO_HTTP_SERVER (-7)
#define HTTPC_ERROR_ENCODING (-9)
#define HTTPC_ERROR_READ_TIMEOUT (-11)

enum { HTTP_CODE_OK = 200, HTTP_CODE_NOT_MODIFIED = 304, HTTP_CODE_UNAUTHORIZED = 401, HTTP_CODE_FORBIDDEN = 403 };
enum { HTTP_CODE_NOT_FOUND = 404 };

class HTTPClient {
 public:
  bool begin(WiFiClient &client, const String &host, uint16_t port, const String &uri, bool https);
  void useHTTP10(bool) {}  // nothing else is spoken here
  void setTimeout(uint16_t) {}
  void setUserAgent(const String &agent) { _agent = agent.c_str(); }
  void addHeader(const String &name, const String &value);
  int GET();
  int getSize() const { return _size; }
  WiFiClient *getStreamPtr() { return _client && _client->connected() ? _client.get() : nullptr; }
  String header(const char *name) { return strcasecmp(name, "x-MD5") == 0 ? String(_md5.c_str()) : String(); }
  void end();

 private:
  int answer();

  std::unique_ptr<WiFiClient> _client;
  std::string _host, _uri, _headers, _md5, _agent = "ESP8266-http-Update";
  uint16_t _port = 0;
  int _size = -1;
};
