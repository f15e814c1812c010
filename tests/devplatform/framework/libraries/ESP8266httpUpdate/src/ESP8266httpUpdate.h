// Updates over HTTP.
#pragma once
#include <Arduino.h>
#include <ESP8266HTTPClient.h>
#include <ESP8266WiFi.h>

constexpr int HTTP_UE_TOO_LESS_SPACE = -100;
constexpr int HTTP_UE_SERVER_NOT_REPORT_SIZE = -101;
constexpr int HTTP_UE_SERVER_FILE_NOT_FOUND = -102;
constexpr int HTTP_UE_SERVER_FORBIDDEN = -103;
constexpr int HTTP_UE_SERVER_WRONG_HTTP_CODE = -104;
constexpr int HTTP_UE_SERVER_FAULTY_MD5 = -105;
constexpr int HTTP_UE_BIN_VERIFY_HEADER_FAILED = -106;
constexpr int HTTP_UE_BIN_FOR_WRONG_FLASH = -107;
constexpr int HTTP_UE_SERVER_UNAUTHORIZED = -108;

enum HTTPUpdateResult { HTTP_UPDATE_FAILED, HTTP_UPDATE_NO_UPDATES, HTTP_UPDATE_OK };
typedef HTTPUpdateResult t_httpUpdate_return;

using HTTPUpdateStartCB = Callback<void()>;
using HTTPUpdateEndCB = Callback<void()>;
using HTTPUpdateErrorCB = Callback<void(int)>;
using HTTPUpdateProgressCB = Callback<void(int, int)>;

class ESP8266HTTPUpdate {
 public:
  ESP8266HTTPUpdate() = default;
  ESP8266HTTPUpdate(int) {}
  void rebootOnUpdate(bool reboot) { _reboot = reboot; }
  void setFollowRedirects(followRedirects_t) {}
  void closeConnectionsOnUpdate(bool) {}
  void setLedPin(int = -1, uint8_t = HIGH) {}
  void setMD5sum(const String &) {}
  void setAuthorization(const String &, const String &) {}
  void setAuthorization(const String &) {}
  void setClientTimeout(int) {}

  t_httpUpdate_return update(WiFiClient &client, const String &url, const String &version = "");
  t_httpUpdate_return update(WiFiClient &client, const String &host, uint16_t port, const String &uri = "/",
                             const String &version = "");
  t_httpUpdate_return update(HTTPClient &http, const String &version = "");
  t_httpUpdate_return updateFS(WiFiClient &client, const String &url, const String &version = "");
  t_httpUpdate_return updateFS(HTTPClient &http, const String &version = "");

  void onStart(HTTPUpdateStartCB callback) { _started = callback; }
  void onEnd(HTTPUpdateEndCB callback) { _ended = callback; }
  void onError(HTTPUpdateErrorCB callback) { _failed = callback; }
  void onProgress(HTTPUpdateProgressCB callback) { _progress = callback; }
  int getLastError() { return _error; }
  String getLastErrorString();

 protected:
  t_httpUpdate_return handleUpdate(HTTPClient &http, const String &version, bool filesystem = false);

 private:
  int _error = 0;
  bool _reboot = true;
  HTTPUpdateStartCB _started;
  HTTPUpdateEndCB _ended;
  HTTPUpdateErrorCB _failed;
  HTTPUpdateProgressCB _progress;
};

extern ESP8266HTTPUpdate ESPhttpUpdate;
