// The slot that does not run, what the core's updater does with it, and what makes ESP-IDF take an image for one that can
// be started (F46, F47, F80, F83).
#include <Update.h>
#include <esp_ota_ops.h>
#include <mbedtls/md.h>
#include <otaseal/slot_update.h>

#include "chip.h"
#include "device.h"

UpdateClass Update;

namespace {

const esp_partition_t RUNNING = {0x10000, 0x140000};
esp_partition_t other = {0x150000, 0x140000};
const esp_partition_t *boot = &RUNNING;

uint32_t word(uint32_t at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; i--) value = value << 8 | chip.slot[at + static_cast<uint32_t>(i)];
  return value;
}

// Whether all that the boot loader looks at is right: header, segments, checksum, and the hash behind them.
bool canStart() {
  constexpr uint32_t HEADER = 24, SEGMENT = 8, HASH = 32, MOST_SEGMENTS = 16;
  const std::vector<uint8_t> &slot = chip.slot;
  const uint32_t size = static_cast<uint32_t>(slot.size());
  const unsigned revision = slot[15] | slot[16] << 8;
  if (slot[0] != 0xe9 || slot[1] == 0 || slot[1] > MOST_SEGMENTS || (slot[12] | slot[13] << 8) != chip.id) return false;
  if (revision > chip.revision) return false;
  uint32_t at = HEADER;
  uint8_t checksum = 0xef;
  for (int i = 0; i < slot[1]; i++) {
    if (size - at < SEGMENT) return false;
    const uint32_t length = word(at + 4);
    at += SEGMENT;
    if (length > size - at) return false;
    for (const uint32_t end = at + length; at < end; at++) checksum ^= slot[at];
  }
  at += 15 - at % 16;
  if (size - at < 1 + HASH || slot[at] != checksum) return false;
  uint8_t hash[HASH];
  mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), slot.data(), at + 1, hash);
  return slot[23] == 0 || memcmp(hash, slot.data() + at + 1, HASH) == 0;
}

}  // namespace

const esp_partition_t *esp_ota_get_running_partition() { return &RUNNING; }
const esp_partition_t *esp_ota_get_boot_partition() { return boot; }
const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *) { return chip.oneSlot ? &RUNNING : &other; }

int esp_ota_set_boot_partition(const esp_partition_t *partition) {
  if (partition == &other && !canStart()) return -1;
  boot = partition;
  return 0;
}

void restartUpdater() { Update = UpdateClass(); }
bool isStaged() { return boot == &other; }
std::string staged() { return std::string(chip.slot.begin(), chip.slot.begin() + chip.stagedSize); }

void forgetStaged() {
  boot = &RUNNING;
  chip.stagedSize = 0;
}

bool startable() { return canStart(); }

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
  if (esp_ota_set_boot_partition(&other) != 0) {
    fail(UPDATE_ERROR_ACTIVATE);
    return false;
  }
  chip.stagedSize = static_cast<uint32_t>(written);
  fail(UPDATE_ERROR_OK);
  return true;
}
