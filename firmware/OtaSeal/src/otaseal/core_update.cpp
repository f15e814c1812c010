#if defined(ARDUINO_ARCH_ESP8266)

#include "core_update.h"

#include <Updater.h>
#include <string.h>

namespace otaseal {

void CoreUpdate::discard(bool) {
  if (!_begun) return;
  if (_opened) {
    Update.write(nullptr, _size + 1);  // refused, with all before: end() would install what is whole by now
  } else {
    Update.end();
  }
}

// Why the core's updater does not go on.
Error CoreUpdate::refused() {
  _detail = Update.getError();
  switch (_detail) {
    case UPDATE_ERROR_OK: return Error::Busy;  // it says nothing else of one that is under way
    case UPDATE_ERROR_SPACE: return Error::Space;
    case UPDATE_ERROR_MAGIC_BYTE: return Error::NotFirmware;
    case UPDATE_ERROR_SIGN: return _gate.error() != Error::None ? _gate.error() : Error::Signature;
#ifdef UPDATE_ERROR_OOM  // not in core 3.0
    case UPDATE_ERROR_OOM: return Error::Memory;
#endif
    default: return Error::Flash;
  }
}

Error CoreUpdate::add(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size && _came + i < sizeof _first; i++) {
    _first[_came + i] = data[i];
    if (_came + i + 1 < sizeof _first) continue;
    const Error error = port::judgeStart(_first);
    if (error != Error::None) return error;
  }
  if (!_begun) {
    _begun = true;
    _opened = Update.begin(_size);
    if (!_opened) return refused();
  }
  _came += static_cast<uint32_t>(size);
  return Update.write(const_cast<uint8_t *>(data), size) == size ? Error::None : refused();
}

Error CoreUpdate::finish() {
  if (!Update.end()) return refused();
  _begun = false;
  return Error::None;
}

}  // namespace otaseal

#endif
