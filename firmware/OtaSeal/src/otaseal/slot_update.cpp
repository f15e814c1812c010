#if defined(ARDUINO_ARCH_ESP32)

#include "slot_update.h"

#include <Update.h>
#include <string.h>

#include "staged_trailer.h"

namespace otaseal {

static constexpr uint32_t WORD = 4;  // bytes: the length of the signature, at the end of the file

static uint32_t trailer;  // that word; the lock lets one update in at a time

uint32_t stagedTrailer() { return trailer; }

SlotUpdate::SlotUpdate(Gate &gate, uint32_t size) : _gate(gate), _size(size) { _gate.hash.begin(); }

bool SlotUpdate::isBusy() { return Update.isRunning(); }

void SlotUpdate::discard() {
  if (_begun) Update.abort();
  _begun = false;
}

Error SlotUpdate::add(const uint8_t *data, size_t size) {
  Error error = Error::None;
  if (size > _size - _came) return Error::Http;
  _came += static_cast<uint32_t>(size);
  while (size > 0 && error == Error::None) {
    const size_t room = sizeof _window - _held, taken = size < room ? size : room;
    memcpy(_window + _held, data, taken);
    _held += static_cast<uint32_t>(taken);
    data += taken;
    size -= taken;
    if (_held == sizeof _window) error = pass();
  }
  return error;
}

// The updater checks what it writes in write(), but not in end(): so it is told exactly how much comes. How long the
// signature is stands at the end of the file, so that is the size with the shorter key; fill() makes up for the longer.
Error SlotUpdate::open() {
  const Error error = _gate.hash.inspector.error();
  if (error != Error::None) return error;
  const uint32_t own = _gate.keyLength(false), next = _gate.keyLength(true);
  const uint32_t behind = Manifest::SIZE + (next != 0 && next < own ? next : own) + WORD;
  if (_size <= behind) return Error::Signature;
  if (!port::hasOtherSlot()) return Error::Space;
  _room = _size - behind;
  port::beforeWriting();
  _begun = Update.begin(_room);
  if (_begun) return Error::None;
  if (Update.isRunning()) return Error::Busy;
  return Update.hasError() ? refused() : Error::Memory;
}

// Why the core's updater does not go on.
Error SlotUpdate::refused() {
  _detail = Update.getError();
  switch (_detail) {
    case UPDATE_ERROR_SPACE:
    case UPDATE_ERROR_SIZE:
    case UPDATE_ERROR_NO_PARTITION: return Error::Space;
    default: return Error::Flash;
  }
}

Error SlotUpdate::pass() {
  _gate.hash.add(_window, HELD);
  Error error = _begun ? Error::None : open();
  if (error == Error::None) error = write(_window, HELD);
  _held -= HELD;
  memmove(_window, _window + HELD, _held);
  return error;
}

Error SlotUpdate::write(uint8_t *data, size_t size) {
  if (Update.write(data, size) != size) return refused();
  _written += static_cast<uint32_t>(size);
  return Error::None;
}

// What is behind the image stays as erased flash is.
Error SlotUpdate::fill() {
  uint8_t blank[64];
  memset(blank, 0xff, sizeof blank);
  Error error = Error::None;
  while (_written < _room && error == Error::None) {
    error = write(blank, _room - _written < sizeof blank ? _room - _written : sizeof blank);
  }
  return error;
}

// `rest`: bytes of the payload that are still in the window.
Error SlotUpdate::judge(size_t &rest) {
  if (_held < Manifest::SIZE + WORD) return Error::Signature;
  const uint8_t *word = _window + _held - WORD;
  trailer = word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
  if (trailer == 0 || trailer != _gate.length() || _held < Manifest::SIZE + trailer + WORD) return Error::Signature;
  rest = _held - WORD - trailer;
  _gate.hash.add(_window, static_cast<uint32_t>(rest));
  _gate.hash.end();
  if (_gate.verify(&_gate.hash, _window + rest, trailer)) return Error::None;
  return _gate.error() != Error::None ? _gate.error() : Error::Signature;
}

Error SlotUpdate::finish() {
  size_t rest = 0;
  if (_came != _size) return Error::Truncated;
  Error error = judge(rest);
  if (error == Error::None && !_begun) error = open();
  if (error == Error::None) error = write(_window, rest - Manifest::SIZE);
  if (error == Error::None) error = fill();
  if (error != Error::None) return error;
  _begun = false;
  return Update.end() ? Error::None : refused();
}

}  // namespace otaseal

#endif
