// HTTP/1.0, and what the core's update client makes of an answer.
#include <ESP8266httpUpdate.h>

#include "device.h"

bool HTTPClient::begin(WiFiClient &client, const String &host, uint16_t port, const String &uri, bool) {
  _client = client.clone();
  _host = host.c_str();
  _uri = uri.c_str();
  _port = port;
  return true;
}

void HTTPClient::addHeader(const String &name, const String &value) {
  _headers += std::string(name.c_str()) + ": " + value.c_str() + "\r\n";
}

int HTTPClient::GET() {
  if (!_client || !_client->connect(_host.c_str(), _port)) return HTTPC_ERROR_CONNECTION_FAILED;
  if (canned.used) {
    _size = static_cast<int>(canned.body.size());
    return _uri.find("/certs.ar.signed") != std::string::npos ? HTTP_CODE_OK : HTTP_CODE_NOT_MODIFIED;
  }
  const std::string request = "GET " + _uri + " HTTP/1.0\r\nHost: " + _host + ":" + std::to_string(_port) +
                              "\r\nUser-Agent: " + _agent + "\r\nConnection: close\r\n" + _headers + "\r\n";
  if (_client->write(request.c_str()) != request.size()) return HTTPC_ERROR_NOT_CONNECTED;
  const int code = answer();
  if (code < 0) _client->stop();
  return code;
}

int HTTPClient::answer() {
  int code = 0;
  bool encoded = false;
  while (_client->connected()) {
    String line = _client->readStringUntil('\n');
    line.trim();
    const std::string text = line.c_str();
    const size_t colon = text.find(':');
    if (text.rfind("HTTP/1.", 0) == 0) {
      code = atoi(text.c_str() + 9);
    } else if (text.empty()) {
      return code <= 0 ? HTTPC_ERROR_NO_HTTP_SERVER : encoded ? HTTPC_ERROR_ENCODING : code;
    } else if (colon != std::string::npos) {
      const std::string name = text.substr(0, colon), value = text.substr(text.find_first_not_of(" \t", colon + 1));
      if (strcasecmp(name.c_str(), "content-length") == 0) _size = atoi(value.c_str());
      if (strcasecmp(name.c_str(), "x-md5") == 0) _md5 = value;
      if (strcasecmp(name.c_str(), "transfer-encoding") == 0) encoded = strcasecmp(value.c_str(), "chunked") != 0;
    }
  }
  return HTTPC_ERROR_CONNECTION_LOST;
}

void HTTPClient::end() {
  if (_client && _client->connected()) _client->stop();
  _client.reset();
}

HTTPUpdateResult ESP8266HTTPUpdate::fail(HTTPClient &http, int error) {
  _error = error;
  http.end();
  return HTTP_UPDATE_FAILED;
}

HTTPUpdateResult ESP8266HTTPUpdate::handleUpdate(HTTPClient &http, const String &version, bool) {
  const String size(chip.sketchSize), space(ESP.getFreeSketchSpace()), real(static_cast<uint32_t>(chip.flash.size()));
  http.addHeader("x-ESP8266-Chip-ID", "15729867");
  http.addHeader("x-ESP8266-STA-MAC", "5C:CF:7F:F0:04:CB");
  http.addHeader("x-ESP8266-AP-MAC", "5E:CF:7F:F0:04:CB");
  http.addHeader("x-ESP8266-free-space", space);
  http.addHeader("x-ESP8266-sketch-size", size);
  http.addHeader("x-ESP8266-sketch-md5", sketchMd5.c_str());
  http.addHeader("x-ESP8266-chip-size", real);
  http.addHeader("x-ESP8266-sdk-version", "2.2.2-dev(38a443e)");
  http.addHeader("x-ESP8266-mode", "sketch");
  if (!version.isEmpty()) http.addHeader("x-ESP8266-version", version);
  const int code = http.GET();
  if (code <= 0) return fail(http, code);
  switch (code) {
    case HTTP_CODE_OK: return take(http);
    case HTTP_CODE_NOT_MODIFIED: http.end(); return HTTP_UPDATE_NO_UPDATES;
    case HTTP_CODE_NOT_FOUND: return fail(http, HTTP_UE_SERVER_FILE_NOT_FOUND);
    case HTTP_CODE_FORBIDDEN: return fail(http, HTTP_UE_SERVER_FORBIDDEN);
    case HTTP_CODE_UNAUTHORIZED: return fail(http, HTTP_UE_SERVER_UNAUTHORIZED);
    default: return fail(http, HTTP_UE_SERVER_WRONG_HTTP_CODE);
  }
}

HTTPUpdateResult ESP8266HTTPUpdate::take(HTTPClient &http) {
  const int size = http.getSize();
  if (size <= 0) return fail(http, HTTP_UE_SERVER_NOT_REPORT_SIZE);
  if (static_cast<uint32_t>(size) > ESP.getFreeSketchSpace()) return fail(http, HTTP_UE_TOO_LESS_SPACE);
  if (_start) _start();
  WiFiClient *stream = http.getStreamPtr();
  if (stream == nullptr) return fail(http, HTTPC_ERROR_CONNECTION_LOST);
  const int first = stream->peek();
  if (first != 0xe9 && first != 0x1f) return fail(http, HTTP_UE_BIN_VERIFY_HEADER_FAILED);
  if (!Update.begin(static_cast<size_t>(size))) return fail(http, Update.getError());
  if (_progress) _progress(0, size);
  Update.onProgress(_progress);
  if (!Update.writeStream(*stream) || !Update.end()) return fail(http, Update.getError());
  if (_progress) _progress(size, size);
  http.end();
  return HTTP_UPDATE_OK;
}
