// What the core's updater does with the slot that does not run (F46, F47, F80, F83).
#include <Update.h>
#include <esp_ota_ops.h>
#include <otaseal/slot_update.h>

#include "chip.h"
#include "device.h"

UpdateClass Update;

static constexpr size_t SECTOR = 4096;

namespace {

// The one that runs is in flash from its beginning here; null: there is no such place.
uint8_t *place(const esp_partition_t *partition, size_t offset, size_t size) {
  std::vector<uint8_t> &flash = partition == esp_ota_get_running_partition() ? chip.flash : chip.slot;
  return offset > flash.size() || size > flash.size() - offset ? nullptr : flash.data() + offset;
}

// What is operated on when the power fails is neither the old nor the new.
template <typename Change>
void operate(uint8_t *at, size_t size, Change change) {
  flashOperation();
  for (size_t i = 0; i < size / 2; i++) at[i] = change(i);
  for (size_t i = size / 2; i < size; i++) at[i] &= 0x5a;
  flashOperation();
  for (size_t i = size / 2; i < size; i++) at[i] = change(i);
  flashOperation();
}

}  // namespace

esp_err_t esp_partition_read(const esp_partition_t *partition, size_t offset, void *data, size_t size) {
  const uint8_t *from = place(partition, offset, size);
  if (from != nullptr) memcpy(data, from, size);
  return from != nullptr ? ESP_OK : -1;
}

esp_err_t esp_partition_write(const esp_partition_t *partition, size_t offset, const void *data, size_t size) {
  uint8_t *at = place(partition, offset, size);
  if (at == nullptr || chip.writesBeforeFailure == 0) return -1;
  const std::vector<uint8_t> before(at, at + size);
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  operate(at, size, [&](size_t i) { return static_cast<uint8_t>(before[i] & bytes[i]); });
  chip.writesBeforeFailure--;
  return ESP_OK;
}

esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size) {
  uint8_t *at = place(partition, offset, size);
  if (at == nullptr || offset % SECTOR != 0 || size % SECTOR != 0) return -1;
  operate(at, size, [](size_t) { return uint8_t{0xff}; });
  return ESP_OK;
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
  _size = 0;
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
