#include "manifest.h"

#include <string.h>

namespace otaseal {

static constexpr char MAGIC[] = {'O', 't', 'a', 'S', 'e', 'a', 'l', 'M'};
static constexpr uint8_t FORMAT = 1;
static constexpr uint8_t GZIP_EXTRA = 4;  // the flag FEXTRA
static constexpr int FIELD = 4 + Manifest::SIZE;  // the subfield with its identifier and length

static bool isAny(const uint8_t *board) {
  for (size_t i = 0; i < Manifest::ID; i++) {
    if (board[i] != 0) return false;
  }
  return true;
}

Error judge(const Manifest &offered, const Manifest &own, Kind kind) {
  if (offered.bytes[8] != FORMAT || offered.bytes[11] != 0) return Error::Format;
  if (offered.bytes[9] != static_cast<uint8_t>(kind)) return Error::Kind;
  if (memcmp(offered.product(), own.product(), Manifest::ID) != 0) return Error::Product;
  if (!isAny(offered.board()) && !isAny(own.board()) && memcmp(offered.board(), own.board(), Manifest::ID) != 0) {
    return Error::Board;
  }
  return offered.counter() < own.counter() ? Error::Counter : Error::None;
}

void Capture::begin() {
  _held = 0;
  _gzip = false;
}

void Capture::add(const uint8_t *data, size_t size) {
  const size_t room = WINDOW - _held;
  const size_t taken = size < room ? size : room;
  memcpy(_window + _held, data, taken);
  _held = static_cast<uint8_t>(_held + taken);
  if (taken > 0) _gzip = _held > 1 && _window[0] == 0x1f && _window[1] == 0x8b;  // nothing has moved yet
  data += taken;
  size -= taken;
  if (size == 0 || _gzip) return;
  const size_t kept = size < WINDOW ? WINDOW - size : 0;
  memmove(_window, _window + (WINDOW - kept), kept);
  memcpy(_window + kept, data + size - (WINDOW - kept), WINDOW - kept);
}

bool Capture::manifest(Manifest &found) const {
  size_t at = 0;
  if (_gzip) {
    if (_held < WINDOW || !(_window[3] & GZIP_EXTRA) || (_window[10] | _window[11] << 8) < FIELD) return false;
    if (_window[12] != 'O' || _window[13] != 'S' || _window[14] != Manifest::SIZE || _window[15] != 0) return false;
    at = SUBFIELD;
  } else if (_held >= Manifest::SIZE) {
    at = _held - Manifest::SIZE;
  } else {
    return false;
  }
  memcpy(found.bytes, _window + at, Manifest::SIZE);
  return memcmp(found.bytes, MAGIC, sizeof MAGIC) == 0;
}

}  // namespace otaseal
