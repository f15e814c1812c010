// arduino-pico's update client: what it says of the device, and what it makes of the answer (F28, F57).
#include <HTTPUpdate.h>
#include <WiFi.h>

HTTPUpdateResult HTTPUpdate::fail(HTTPClient &http, int error) {
  _error = error;
  http.end();
  return HTTP_UPDATE_FAILED;
}

HTTPUpdateResult HTTPUpdate::handleUpdate(HTTPClient &http, const String &version, bool) {
  http.setUserAgent("Pico-HTTP-Update");
  http.addHeader("x-Pico-Chip-ID", "E66058388361A52E");
  http.addHeader("x-Pico-STA-MAC", WiFi.macAddress());
  http.addHeader("x-Pico-AP-MAC", WiFi.macAddress());
  http.addHeader("x-Pico-Mode", "sketch");
  if (!version.isEmpty()) http.addHeader("x-Pico-Version", version);
  const char *collected[] = {"x-MD5"};
  http.collectHeaders(collected, 1);
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

HTTPUpdateResult HTTPUpdate::take(HTTPClient &http) {
  const int size = http.getSize();
  if (size <= 0) return fail(http, HTTP_UE_SERVER_NOT_REPORT_SIZE);
  if (_start) _start();
  WiFiClient *stream = http.getStreamPtr();
  if (stream == nullptr) return fail(http, HTTPC_ERROR_CONNECTION_LOST);
  if (_sever) stream->stop();  // the one it reads from is not the one it spares
  if (!run(*stream, static_cast<size_t>(size), http.header("x-MD5"))) return fail(http, _error);
  http.end();
  return HTTP_UPDATE_OK;
}

bool HTTPUpdate::run(Stream &stream, size_t size, const String &md5) {
  if (_progress) Update.onProgress(_progress);
  const bool begun = Update.begin(size);
  _error = Update.getError();
  if (!begun) return false;
  if (_progress) _progress(0, static_cast<int>(size));
  if (!md5.isEmpty() && !Update.setMD5(md5.c_str())) {
    _error = HTTP_UE_SERVER_FAULTY_MD5;  // and the updater goes on running
    return false;
  }
  const bool written = Update.writeStream(stream) == size;
  if (written && _progress) _progress(static_cast<int>(size), static_cast<int>(size));
  const bool ended = written && Update.end();
  _error = Update.getError();
  return ended;
}
