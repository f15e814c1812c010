// What the core's updater does with the slot that does not run (F46, F47, F80, F83).
#include <Update.h>
#include <esp_ota_ops.h>
#include <otaseal/slot_update.h>

#include "chip.h"
#include "device.h"

UpdateClass Update;

// The one that runs is in flash from its beginning here.
int esp_partition_read(const esp_partition_t *partition, size_t offset, void *data, size_t size) {
  if (partition != esp_ota_get_running_partition() || offset > chip.flash.size() || size > chip.flash.size() - offset) return -1;
  memcpy(data, chip.flash.data() + offset, size);
  return 0;
}

void restartUpdater() { Update = UpdateClass(); }

bool stage(const std::string &image, otaseal::Gate &gate) {
  forgetStaged();
  gate.reset();
  otaseal::SlotUpdate update(gate, static_cast<uint32_t>(image.size()));
  for (size_t at = 0; at < image.size(); at += 700) {
    const size_t size = std::min<size_t>(700, image.size() - at);
    if (update.add(reinterpret_cast<const uint8_t *>(image.data()) + at, size) != otaseal::Error::None) return false;
  }
  return update.finish() == otaseal::Error::None && isStaged();
}

void UpdateClass::fail(uint8_t error) {
  _size = _progress = _buffered = 0;
  _error = error;
}

void UpdateClass::abort() { fail(UPDATE_ERROR_ABORT); }

bool UpdateClass::begin(size_t size, int, int, uint8_t) {
  if (_size > 0) return false;  // and says no error
  fail(UPDATE_ERROR_OK);
  if (size == 0) {
    fail(UPDATE_ERROR_SIZE);
  } else if (chip.slot.empty()) {
    fail(UPDATE_ERROR_NO_PARTITION);
  } else if (size > chip.slot.size()) {
    fail(UPDATE_ERROR_SIZE);
  } else {
    _size = size;
  }
  return _size > 0;
}

bool UpdateClass::flush() {
  size_t skipped = 0;
  if (_progress == 0) {
    if (_buffer[0] != 0xe9) {
      fail(UPDATE_ERROR_MAGIC_BYTE);
      return false;
    }
    skipped = FIRST;
    memcpy(_first, _buffer, FIRST);
  }
  if (chip.writesBeforeFailure == 0) {
    fail(UPDATE_ERROR_WRITE);
    return false;
  }
  chip.writesBeforeFailure--;
  for (size_t i = 0; i < SECTOR; i++) {
    if (_progress + i < chip.slot.size()) chip.slot[_progress + i] = 0xff;
  }
  for (size_t i = skipped; i < _buffered; i++) chip.slot[_progress + i] = _buffer[i];
  _progress += _buffered;
  _buffered = 0;
  return true;
}

size_t UpdateClass::write(uint8_t *data, size_t size) {
  if (hasError() || _size == 0) return 0;
  if (size > remaining()) {
    fail(UPDATE_ERROR_SPACE);
    return 0;
  }
  for (size_t i = 0; i < size; i++) {
    if (_buffered == SECTOR && !flush()) return i;
    _buffer[_buffered++] = data[i];
  }
  return _buffered != remaining() || flush() ? size : 0;
}

bool UpdateClass::end(bool evenIfRemaining) {
  if (hasError() || _size == 0) return false;
  if (!isFinished() && !evenIfRemaining) {
    fail(UPDATE_ERROR_ABORT);
    return false;
  }
  if (!isFinished() && _buffered > 0) flush();  // whose verdict nobody asks for
  const size_t written = _progress;
  for (size_t i = 0; i < FIRST; i++) chip.slot[i] = _first[i];
  if (esp_ota_set_boot_partition(esp_ota_get_next_update_partition(nullptr)) != 0) {
    fail(UPDATE_ERROR_ACTIVATE);
    return false;
  }
  chip.stagedSize = static_cast<uint32_t>(written);
  fail(UPDATE_ERROR_OK);
  return true;
}
