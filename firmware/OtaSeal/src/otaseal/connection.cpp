// What is asked for, and what a poll for firmware comes to. What the server is told with it is in proof.cpp; how connections
// are made, in connection_bearssl.cpp and connection_esp32.cpp.
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

void OtaSeal::pollFirmware() {
  int detail = 0;
  bool installed = false;
  const Error error = fetch(installed, detail);
  _failed = error != Error::None;
  const bool talked = !_failed || error >= Error::Http;
  if (talked) noteTime();
  if (!talked) _fragments = false;  // perhaps another server answers next time
  if (!_failed || error > Error::Unauthorized) trial::confirm();  // the server gives this device firmware
  if (installed) trial::announce(_journal.record);
  if (!_failed && !installed && _journal.record.attempts != 0 && trial::verdict(_journal.record) == Error::None) {
    _journal.record.attempts = 0;
    _journal.save();
  }
  const bool last = installed || !talked;
  if (!last) _step = Step::Certificates;
  finish(installed ? Result::Installed : _failed ? Result::Failed : Result::UpToDate, error, detail, last);
  if (installed && _restart) port::restart();
}
