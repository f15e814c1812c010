// What HTTPClient of arduino-esp32 sends, and what it makes of an answer.
#include <HTTPClient.h>
#include <WiFiClientSecure.h>
#include <strings.h>

#include "device.h"

HTTPClient::~HTTPClient() {
  if (_client != nullptr) _client->stop();
}

bool HTTPClient::begin(WiFiClient &client, String host, uint16_t port, String uri, bool) {
  _client = &client;
  _host = host.c_str();
  _uri = uri.c_str();
  _port = port;
  return true;
}

void HTTPClient::end() {
  if (_client != nullptr && _client->connected()) _client->stop();
}

void HTTPClient::addHeader(const String &name, const String &value, bool, bool) {
  _headers += std::string(name.c_str()) + ": " + value.c_str() + "\r\n";
}

void HTTPClient::collectHeaders(const char *names[], size_t count) {
  for (size_t i = 0; i < count; i++) _collected[names[i]] = "";
}

String HTTPClient::header(const char *name) {
  const auto found = _collected.find(name);
  return found == _collected.end() ? String() : String(found->second.c_str());
}

WiFiClient *HTTPClient::getStreamPtr() { return _client != nullptr && _client->connected() ? _client : nullptr; }

int HTTPClient::sendRequest(const char *type, uint8_t *, size_t) {
  if (_client == nullptr || (!_client->connected() && !_client->connect(_host.c_str(), _port))) {
    return HTTPC_ERROR_CONNECTION_REFUSED;
  }
  if (canned.used) return canned.answer(_uri, _headers, _collected, _size);
  const std::string request = std::string(type) + " " + _uri + " HTTP/1.0\r\nHost: " + _host + ":" + std::to_string(_port) +
                              "\r\nUser-Agent: " + _agent + "\r\nConnection: close\r\n" + _headers + "\r\n";
  if (_client->write(request.c_str()) != request.size()) return HTTPC_ERROR_SEND_HEADER_FAILED;
  return answer();
}

int HTTPClient::answer() {
  int code = 0;
  bool encoded = false;
  while (_client->available() > 0) {
    String line = _client->readStringUntil('\n');
    line.trim();
    const std::string text = line.c_str();
    const size_t colon = text.find(':');
    if (text.rfind("HTTP/1.", 0) == 0) {
      code = atoi(text.c_str() + 9);
    } else if (text.empty()) {
      return code <= 0 ? HTTPC_ERROR_NO_HTTP_SERVER : encoded ? HTTPC_ERROR_ENCODING : code;
    } else if (colon != std::string::npos) {
      const size_t begin = text.find_first_not_of(" \t", colon + 1);
      const std::string name = text.substr(0, colon), value = begin == std::string::npos ? "" : text.substr(begin);
      if (strcasecmp(name.c_str(), "content-length") == 0) _size = atoi(value.c_str());
      if (strcasecmp(name.c_str(), "transfer-encoding") == 0) encoded = strcasecmp(value.c_str(), "chunked") != 0;
      for (auto &one : _collected) {
        if (strcasecmp(one.first.c_str(), name.c_str()) == 0) one.second = value;
      }
    }
  }
  return HTTPC_ERROR_CONNECTION_LOST;
}
