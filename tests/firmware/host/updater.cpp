// Where an update is staged and what of it is verified: F1, F7, F8, F9, F10. No checks but those that the core has.
#include <Arduino.h>

#include "chip.h"

#include "device.h"

UpdaterClass Update;

static uint32_t start;  // where the update is staged

void restartUpdater() { Update = UpdaterClass(); }
bool isStaged() { return chip.stagedSize > 0; }
bool startable() { return isStaged(); }
void forgetStaged() { chip.stagedSize = 0; }

std::string staged() {
  const auto from = chip.flash.begin() + chip.stagedAt;
  return std::string(from, from + chip.stagedSize);
}

bool UpdaterClass::setMD5(const char *expected) { return strlen(expected) == 32; }

bool UpdaterClass::begin(size_t size, int, int, uint8_t) {
  if (_size > 0) return false;  // and says no error
  _error = UPDATE_ERROR_OK;
  _written = 0;
  if (size == 0) return fail(UPDATE_ERROR_SIZE);
  const uint32_t rounded = (static_cast<uint32_t>(size) + 4095) & ~4095u, running = (chip.sketchSize + 4095) & ~4095u;
  if (rounded > chip.filesystem || chip.filesystem - rounded < running) return fail(UPDATE_ERROR_SPACE);
  start = chip.filesystem - rounded;
  _size = size;
  return true;
}

size_t UpdaterClass::write(uint8_t *data, size_t size) {
  if (_size == 0 || size > _size - _written) return fail(UPDATE_ERROR_SPACE);
  for (size_t i = 0; i < size; i++, _written++) {
    if (_written == 0 && data[i] != 0xe9 && data[i] != 0x1f) return fail(UPDATE_ERROR_MAGIC_BYTE);
    const bool mode = _written == 2 && chip.flash[start] != 0x1f;
    chip.flash[start + _written] = mode ? chip.flashMode : data[i];
  }
  return size;
}

bool UpdaterClass::end(bool) {
  if (_size == 0) return false;
  if (_written < _size) return fail(_written == 0 ? UPDATE_ERROR_NO_DATA : UPDATE_ERROR_OK);
  const uint32_t expected = _verify->length();
  uint8_t word[4];
  ESP.flashRead(start + static_cast<uint32_t>(_size) - 4, word, 4);
  const uint32_t length = word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
  if (_size < 4 || length != expected || _size < length + 4) return fail(UPDATE_ERROR_SIGN);
  const uint32_t payload = static_cast<uint32_t>(_size) - length - 4;
  uint8_t piece[128];
  _hash->begin();
  for (uint32_t at = 0; at < payload; at += sizeof piece) {
    const uint32_t size = payload - at < sizeof piece ? payload - at : sizeof piece;
    if (size % 4 == 0) ESP.flashRead(start + at, piece, size);  // F8: an odd rest is not read, and the old bytes hashed
    _hash->add(piece, size);
  }
  _hash->end();
  std::vector<uint8_t> signature(length);
  ESP.flashRead(start + payload, signature.data(), length);
  if (!_verify->verify(_hash, signature.data(), length)) return fail(UPDATE_ERROR_SIGN);
  if (chip.flash[start] != 0xe9 && (chip.flash[start] != 0x1f || chip.flash[start + 1] != 0x8b)) {
    return fail(UPDATE_ERROR_MAGIC_BYTE);
  }
  chip.stagedAt = start;
  chip.stagedSize = payload;
  _size = 0;
  return true;
}
