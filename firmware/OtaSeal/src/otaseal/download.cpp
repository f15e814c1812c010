#include "download.h"

#include <OtaSeal.h>

#include <string.h>

#include <new>

namespace otaseal {

static constexpr uint32_t STALL = 30 * 1000;  // milliseconds without another sector
static constexpr uint32_t SECTOR = 4096;
static constexpr uint8_t MOST_REOPENED = 12, MOST_IN_VAIN = 6;  // the latter without another sector
static constexpr uint32_t FIRST_WAIT = 1000;  // milliseconds before the second connection; doubled while it is in vain

static Error statusError(int status) {
  switch (status) {
    case HTTP_CODE_NOT_FOUND: return Error::NotFound;
    case HTTP_CODE_FORBIDDEN: return Error::Forbidden;
    case HTTP_CODE_UNAUTHORIZED: return Error::Unauthorized;
    default: return Error::Http;
  }
}

void Download::resume(const Unfinished &left) {
  _file = left;
  _resumed = true;
}

static const char *own[] = {"x-MD5", "ETag", "Content-Range", WAIT};
const char **Download::wanted = own;
size_t Download::wantedCount = sizeof own / sizeof *own;

// One request of its own for each connection, with its own proof. The last one is gone before: its memory is needed.
Error Download::ask(bool looks) {
  _request.reset();
  _request.reset(new (std::nothrow) Request);
  if (_request == nullptr) return Error::Memory;
  _request->updates = true;
  _request->patches = port::PATCHES && !_updates._wholeOnly;
  const Error error = _updates.open(*_request, "firmware.bin.signed", _detail);
  if (error != Error::None) return error;
  HTTPClient &http = _request->http;
  port::describe(http, _updates._build.version);
  if (_file.done > 0) {
    char range[24];
    snprintf_P(range, sizeof range, PSTR("bytes=%u-"), static_cast<unsigned>(_file.done));
    addHeader(http, PSTR(""), PSTR("Range"), range);
    addHeader(http, PSTR("If-"), PSTR("Range"), _file.tag);
  }
  http.collectHeaders(wanted, wantedCount);
  _status = http.sendRequest(looks ? "HEAD" : "GET");
  if (_status < 0) return _updates.classify(_request->client, _status, _detail);
  _updates._schedule.told(http.header(WAIT).c_str());
  return Error::None;
}

// A weak tag says nothing of bytes, and one that is too long is not kept.
static void take(const String &tag, Unfinished &file) {
  const bool kept = tag[0] == '"' && tag.length() < sizeof file.tag;
  memcpy(file.tag, kept ? tag.c_str() : "", kept ? tag.length() + 1 : 1);
}

Error Download::begin() {
  HTTPClient &http = _request->http;
  const int length = http.getSize();
  _anew = false;
  if (_file.done > 0 && continues()) {
    listen();
    return Error::None;
  }
  if (_status != HTTP_CODE_OK) {
    _detail = _status;
    return statusError(_status);
  }
  if (length <= 0) return Error::NoLength;
  _resumed = false;
  _file.size = static_cast<uint32_t>(length);
  _file.done = 0;
  take(http.header("ETag"), _file);
  listen();
  const String md5 = http.header("x-MD5");
  return parseMd5(md5.c_str(), _file.md5) || md5.length() == 0 ? Error::None : Error::Http;
}

void Download::listen() {
  _since = uptime();
  _sector = _file.done + SECTOR;
}

// Returns how many bytes there are now; 0: the connection has ended, or stands still, or it has taken too long.
size_t Download::receive() {
  TlsClient &client = _request->client;
  const uint32_t left = _file.size - _file.done;
  for (;;) {
    const uint32_t now = uptime();
    if (now - _since >= STALL || now - _begun >= LONGEST_DOWNLOAD) return 0;
    const int got = client.available() > 0 ? client.read(_piece, left < sizeof _piece ? left : sizeof _piece) : 0;
    if (got > 0) return static_cast<size_t>(got);
    if (!client.connected()) return 0;
    delay(1);
  }
}

Error Download::read(const uint8_t *&data, size_t &size) {
  data = _piece;
  size = 0;
  while (_file.done < _file.size && (size = receive()) == 0) {
    const Error error = reopen();
    if (error != Error::None) return error;
  }
  _file.done += static_cast<uint32_t>(size);
  if (_file.done < _sector) return Error::None;
  listen();
  _inVain = 0;
  delay(1);  // on chips with one core nobody else runs, and the watchdog bites, while bytes come without a break
  return Error::None;
}

// Whether this answer is the rest of the file, and nothing else.
bool Download::continues() const {
  HTTPClient &http = _request->http;
  char range[48];
  const unsigned done = _file.done, size = _file.size;
  snprintf_P(range, sizeof range, PSTR("bytes %u-%u/%u"), done, size - 1, size);
  return _status == HTTP_CODE_PARTIAL_CONTENT && http.header("Content-Range") == range && http.header("ETag") == _file.tag &&
         http.getSize() == static_cast<int>(size - done);
}

// None: the next connection goes on where the last one has ended.
Error Download::reopen() {
  while (_file.tag[0] != 0 && _reopened < MOST_REOPENED && _inVain < MOST_IN_VAIN) {
    _request.reset();
    _reopened++;
    delay(FIRST_WAIT << _inVain++);
    if (uptime() - _begun >= LONGEST_DOWNLOAD) break;
    if (ask() != Error::None) continue;  // no better than the last one
    listen();
    _detail = 0;
    if (continues()) {
      forgetHeaders();
      return Error::None;
    }
    _anew = _status == HTTP_CODE_OK;
    if (_anew) return Error::Truncated;
    _detail = _status;
    return statusError(_status);
  }
  _detail = 0;
  return Error::Truncated;
}

}  // namespace otaseal
