// What a request to the server says, and what a poll for firmware comes to. How connections are made is in
// connection_bearssl.cpp and connection_esp32.cpp.
#include <OtaSeal.h>

#include "crypto.h"

using namespace otaseal;

Request::Request() = default;
Request::~Request() {
  http.end();
  client.stop();  // keeps the session
}

bool OtaSeal::path(const char *file, char *text, size_t size) const {
  const int length = _channel != nullptr ? snprintf_P(text, size, PSTR("/%s/%s/%s"), _product, _channel, file)
                                         : snprintf_P(text, size, PSTR("/%s/%s"), _product, file);
  return length > 0 && static_cast<size_t>(length) < size;
}

// Out of line: two strings made and unmade are larger than the call.
static __attribute__((noinline)) void addHeader(HTTPClient &http, const __FlashStringHelper *name, const char *value) {
  http.addHeader(name, value);
}

static __attribute__((noinline)) void addNumber(HTTPClient &http, const __FlashStringHelper *name, uint32_t value) {
  char digits[11];
  snprintf_P(digits, sizeof digits, PSTR("%u"), static_cast<unsigned>(value));
  addHeader(http, name, digits);
}

static char digit(int value) { return static_cast<char>(value < 10 ? '0' + value : 'a' + value - 10); }

// Lower-case hex digits of at most 32 bytes.
static __attribute__((noinline)) void addHex(HTTPClient &http, const __FlashStringHelper *name, const uint8_t *bytes,
                                             size_t size) {
  char digits[2 * Sha256::SIZE + 1];
  char *at = digits;
  for (; size > 0; size--, bytes++) {
    *at++ = digit(*bytes >> 4);
    *at++ = digit(*bytes & 15);
  }
  *at = 0;
  addHeader(http, name, digits);
}

void OtaSeal::addHeaders(HTTPClient &http) {
  const Manifest identity = _gate.identity();
  addNumber(http, F("X-Otaseal-Counter"), identity.counter());
  addNumber(http, F("X-Otaseal-Error"), static_cast<uint32_t>(_error));
  addHex(http, F("X-Otaseal-Certs"), _certificatesHash, sizeof _certificatesHash);
  addHex(http, F("X-Otaseal-Board"), identity.board(), Manifest::ID);
}

// What is asked for, and what the server is told.
void OtaSeal::address(Request &request, const char *file) {
  char uri[PATH];
  path(file, uri, PATH);
  request.http.begin(request.client, _server, _port, uri, true);
  addHeaders(request.http);
}

void OtaSeal::pollFirmware() {
  int detail = 0;
  bool installed = false;
  const Error error = fetch(installed, detail);
  _failed = error != Error::None;
  const bool talked = !_failed || error >= Error::Http;
  if (talked) noteTime();
  if (!talked) _fragments = false;  // perhaps another server answers next time
  if (error == Error::None && !installed && _journal.record.attempts != 0) {
    _journal.record.attempts = 0;
    _journal.save();
  }
  const bool last = installed || !talked;
  if (!last) _step = Step::Certificates;
  finish(installed ? Result::Installed : _failed ? Result::Failed : Result::UpToDate, error, detail, last);
  if (installed && _restart) port::restart();
}
