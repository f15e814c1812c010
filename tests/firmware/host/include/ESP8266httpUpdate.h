// The core's update client (F28, F29).
#pragma once
#include <ESP8266HTTPClient.h>
#include <Updater.h>

#include <functional>

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

class ESP8266HTTPUpdate {
 public:
  void rebootOnUpdate(bool) {}
  void onStart(std::function<void()> callback) { _start = std::move(callback); }
  void onProgress(std::function<void(int, int)> callback) { _progress = std::move(callback); }
  int getLastError() const { return _error; }

 protected:
  HTTPUpdateResult handleUpdate(HTTPClient &http, const String &version, bool filesystem);

 private:
  HTTPUpdateResult fail(HTTPClient &http, int error);
  HTTPUpdateResult take(HTTPClient &http);

  std::function<void()> _start;
  std::function<void(int, int)> _progress;
  int _error = 0;
};
