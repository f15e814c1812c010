// arduino-pico, where it differs: an update is a file in LittleFS, and so is the order to the boot stub.
#include <HTTPUpdate.h>
#include <LittleFS.h>
#include <WiFi.h>
#include <lwip/apps/sntp.h>

#include <cstdlib>
#include <string>

#include "disk.h"

RP2040 rp2040;
UpdaterClass Update;

namespace {

constexpr char IMAGE[] = "/firmware.bin", ORDER[] = "/otacommand.bin";
std::string received;  // of the image that is open: nobody else sees it before it is closed

void needsNetwork() {
  if (!chip.online) abort();
}

}  // namespace

void sntp_stop() { needsNetwork(); }
void sntp_setoperatingmode(uint8_t) { needsNetwork(); }
void sntp_setservername(uint8_t, const char *) { needsNetwork(); }

void sntp_init() {
  needsNetwork();
  chip.asksForTime = true;
}

bool UpdaterClass::begin(size_t size, int, int, uint8_t) {
  _error = UPDATE_ERROR_OK;
  _written = 0;
  if (size == 0) return fail(UPDATE_ERROR_SIZE);
  if (!LittleFS.begin() || disk.used() + size > disk.room) return fail(UPDATE_ERROR_SPACE);
  disk.files[IMAGE].clear();
  received.clear();
  _size = size;
  return true;
}

size_t UpdaterClass::write(uint8_t *data, size_t size) {
  received.append(reinterpret_cast<const char *>(data), size);
  _written += size;
  return size;
}

bool UpdaterClass::end(bool) {
  if (_size == 0) return false;
  if (_written < _size) return fail(_written == 0 ? UPDATE_ERROR_NO_DATA : UPDATE_ERROR_OK);
  const uint32_t expected = _verify->length();
  uint32_t length = 0;
  for (size_t i = 1; i <= 4 && i <= _size; i++) length = length << 8 | static_cast<uint8_t>(received[_size - i]);
  if (length != expected || _size < length + 4) return fail(UPDATE_ERROR_SIGN);
  const size_t payload = _size - length - 4;
  _hash->begin();
  for (size_t at = 0; at < payload; at += 128) {
    _hash->add(received.data() + at, static_cast<uint32_t>(payload - at < 128 ? payload - at : 128));
  }
  _hash->end();
  if (!_verify->verify(_hash, received.data() + payload, length)) return fail(UPDATE_ERROR_SIGN);
  disk.files[IMAGE] = received.substr(0, payload);
  disk.files[ORDER] = "Pico OTA";
  _size = 0;
  return true;
}

HTTPUpdateResult HTTPUpdate::fail(HTTPClient &http, int error) {
  _error = error;
  http.end();
  return HTTP_UPDATE_FAILED;
}

HTTPUpdateResult HTTPUpdate::handleUpdate(HTTPClient &http, const String &version, bool) {
  http.setUserAgent("Pico-HTTP-Update");
  http.addHeader("x-Pico-Chip-ID", "E66058388361A52E");
  http.addHeader("x-Pico-STA-MAC", "28:CD:C1:00:00:01");
  http.addHeader("x-Pico-AP-MAC", "28:CD:C1:00:00:01");
  http.addHeader("x-Pico-Mode", "sketch");
  if (!version.isEmpty()) http.addHeader("x-Pico-Version", version);
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
  if (!Update.begin(static_cast<size_t>(size))) return fail(http, Update.getError());
  if (_progress) {
    _progress(0, size);
    Update.onProgress(_progress);
  }
  if (Update.writeStream(*stream) == 0 || !Update.end()) return fail(http, Update.getError());
  if (_progress) _progress(size, size);
  http.end();
  return HTTP_UPDATE_OK;
}
