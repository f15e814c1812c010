// Updates over HTTP: the path of a real one, ending at the first step.
#include "ESP8266httpUpdate.h"

ESP8266HTTPUpdate ESPhttpUpdate;

t_httpUpdate_return ESP8266HTTPUpdate::handleUpdate(HTTPClient &http, const String &, bool filesystem) {
  const int command = filesystem ? U_FS : U_FLASH;
  const int code = http.GET();
  if (code == HTTP_CODE_NOT_MODIFIED) return HTTP_UPDATE_NO_UPDATES;
  if (code == HTTP_CODE_OK && Update.begin(http.getSize(), command) && Update.end()) {
    if (_ended) _ended();
    if (_reboot) ESP.restart();
    return HTTP_UPDATE_OK;
  }
  _error = code == HTTP_CODE_OK ? Update.getError() : code;
  if (_failed) _failed(_error);
  return HTTP_UPDATE_FAILED;
}

t_httpUpdate_return ESP8266HTTPUpdate::update(HTTPClient &http, const String &version) {
  return handleUpdate(http, version);
}
t_httpUpdate_return ESP8266HTTPUpdate::updateFS(HTTPClient &http, const String &version) {
  return handleUpdate(http, version, true);
}

t_httpUpdate_return ESP8266HTTPUpdate::update(WiFiClient &client, const String &url, const String &version) {
  HTTPClient http;
  return http.begin(client, url) ? update(http, version) : HTTP_UPDATE_FAILED;
}
t_httpUpdate_return ESP8266HTTPUpdate::update(WiFiClient &client, const String &host, uint16_t port, const String &uri,
                                              const String &version) {
  HTTPClient http;
  return http.begin(client, host, port, uri) ? update(http, version) : HTTP_UPDATE_FAILED;
}
t_httpUpdate_return ESP8266HTTPUpdate::updateFS(WiFiClient &client, const String &url, const String &version) {
  HTTPClient http;
  return http.begin(client, url) ? updateFS(http, version) : HTTP_UPDATE_FAILED;
}

String ESP8266HTTPUpdate::getLastErrorString() { return HTTPClient::errorToString(_error); }
