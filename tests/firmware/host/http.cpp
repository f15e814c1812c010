// HTTP/1.0, as the cores of the ESP8266 and the Pico ask, and what they make of an answer.
#include <ESP8266HTTPClient.h>

#include <map>
#include <string>

#include "chip.h"
#include "device.h"

struct HTTPClient::Exchange {
  Shared<WiFiClient> client;
  std::string host, uri, headers, agent = "ESP8266-http-Update";
  std::map<std::string, std::string> collected;
  uint16_t port = 0;
  int size = -1;

  int answer();
};

HTTPClient::HTTPClient() : _exchange(new Exchange) {}
void HTTPClient::setUserAgent(const String &agent) { _exchange->agent = agent.c_str(); }
int HTTPClient::getSize() { return _exchange->size; }

// Instead of those before.
void HTTPClient::collectHeaders(const char *names[], const size_t count) {
  _exchange->collected.clear();
  for (size_t i = 0; i < count; i++) _exchange->collected[names[i]] = "";
}

String HTTPClient::header(const char *name) {
  const auto found = _exchange->collected.find(name);
  return found == _exchange->collected.end() ? String() : String(found->second.c_str());
}

WiFiClient *HTTPClient::getStreamPtr() {
  return _exchange->client && _exchange->client->connected() ? _exchange->client.get() : nullptr;
}

bool HTTPClient::begin(WiFiClient &client, const String &host, uint16_t port, const String &uri, bool) {
  _exchange->client = Shared<WiFiClient>(client.clone());
  _exchange->host = host.c_str();
  _exchange->uri = uri.c_str();
  _exchange->port = port;
  return true;
}

void HTTPClient::addHeader(const String &name, const String &value, bool, bool) {
  _exchange->headers += std::string(name.c_str()) + ": " + value.c_str() + "\r\n";
}

int HTTPClient::GET() { return sendRequest("GET"); }

int HTTPClient::sendRequest(const char *type, const uint8_t *, size_t) {
  Exchange &e = *_exchange;
  if (!e.client || !e.client->connect(e.host.c_str(), e.port)) return HTTPC_ERROR_CONNECTION_FAILED;
  if (canned.used) return canned.answer(e.uri, e.headers, e.collected, e.size);
  const std::string request = std::string(type) + " " + e.uri + " HTTP/1.0\r\nHost: " + e.host + ":" + std::to_string(e.port) +
                              "\r\nUser-Agent: " + e.agent + "\r\nConnection: close\r\n" + e.headers + "\r\n";
  if (e.client->write(request.c_str()) != request.size()) return HTTPC_ERROR_NOT_CONNECTED;
  const int code = e.answer();
  if (code < 0) e.client->stop();
  return code;
}

int HTTPClient::Exchange::answer() {
  int code = 0;
  bool encoded = false;
  while (client->connected()) {
    String line = client->readStringUntil('\n');
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
      if (strcasecmp(name.c_str(), "content-length") == 0) size = atoi(value.c_str());
      for (auto &one : collected) {
        if (strcasecmp(one.first.c_str(), name.c_str()) == 0) one.second += one.second.empty() ? value : "," + value;
      }
      if (strcasecmp(name.c_str(), "transfer-encoding") == 0) encoded = strcasecmp(value.c_str(), "chunked") != 0;
    }
  }
  return HTTPC_ERROR_CONNECTION_LOST;
}

void HTTPClient::end() {
  if (_exchange->client && _exchange->client->connected()) _exchange->client->stop();
  _exchange->client = Shared<WiFiClient>();
}

String EspClass::getSketchMD5() { return sketchMd5.c_str(); }
