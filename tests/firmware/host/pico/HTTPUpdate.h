// arduino-pico's update client: other headers, other defaults (F28).
#pragma once
#include <ESP8266httpUpdate.h>

#include <functional>

class HTTPUpdate {
 public:
  void rebootOnUpdate(bool) {}
  void closeConnectionsOnUpdate(bool sever) { _sever = sever; }
  void onStart(std::function<void()> callback) { _start = std::move(callback); }
  void onProgress(std::function<void(int, int)> callback) { _progress = std::move(callback); }
  int getLastError() const { return _error; }

 protected:
  HTTPUpdateResult handleUpdate(HTTPClient &http, const String &version, bool filesystem);

 private:
  HTTPUpdateResult fail(HTTPClient &http, int error);
  HTTPUpdateResult take(HTTPClient &http);
  bool run(Stream &stream, size_t size, const String &md5);

  std::function<void()> _start;
  std::function<void(int, int)> _progress;
  int _error = 0;
  bool _sever = true;
};
