// Two slots, otadata, and a boot loader that waits for the word of new firmware, or does not (F85).
#include <esp_ota_ops.h>
#include <esp_system.h>
#include <mbedtls/md.h>

#include <cstring>
#include <filesystem>
#include <sstream>

#include "chip.h"
#include "device.h"

namespace {

constexpr uint32_t SIZE = 0x140000;

const esp_partition_t SLOTS[] = {
    {ESP_PARTITION_TYPE_APP, ESP_PARTITION_SUBTYPE_APP_OTA_0, 0x10000, SIZE},
    {ESP_PARTITION_TYPE_APP, ESP_PARTITION_SUBTYPE_APP_OTA_1, 0x150000, SIZE},
};

struct Entry {
  uint32_t number = 0;  // 0: there is none
  uint32_t state = ESP_OTA_IMG_UNDEFINED;

  bool counts() const { return number != 0 && state != ESP_OTA_IMG_INVALID && state != ESP_OTA_IMG_ABORTED; }
  unsigned slot() const { return (number - 1) % 2; }
};

Entry entries[2] = {{1, ESP_OTA_IMG_UNDEFINED}, {}};
unsigned running = 0;

uint32_t word(const std::vector<uint8_t> &slot, uint32_t at) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; i--) value = value << 8 | slot[at + static_cast<uint32_t>(i)];
  return value;
}

// The bytes of an image in which all that the boot loader looks at is right: header, segments, checksum, and the hash behind
// them; else 0.
uint32_t imageSize(const std::vector<uint8_t> &slot) {
  constexpr uint32_t HEADER = 24, SEGMENT = 8, HASH = 32, MOST_SEGMENTS = 16;
  const uint32_t size = static_cast<uint32_t>(slot.size());
  if (size < HEADER) return 0;
  const unsigned revision = slot[15] | slot[16] << 8;
  if (slot[0] != 0xe9 || slot[1] == 0 || slot[1] > MOST_SEGMENTS || (slot[12] | slot[13] << 8) != chip.id) return 0;
  if (revision > chip.revision) return 0;
  uint32_t at = HEADER;
  uint8_t checksum = 0xef;
  for (int i = 0; i < slot[1]; i++) {
    if (size - at < SEGMENT) return 0;
    const uint32_t length = word(slot, at + 4);
    at += SEGMENT;
    if (length > size - at) return 0;
    for (const uint32_t end = at + length; at < end; at++) checksum ^= slot[at];
  }
  at += 15 - at % 16;
  if (size - at < 1 + HASH || slot[at] != checksum) return 0;
  uint8_t hash[HASH];
  mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), slot.data(), at + 1, hash);
  if (slot[23] == 0) return at + 1;
  return memcmp(hash, slot.data() + at + 1, HASH) == 0 ? at + 1 + HASH : 0;
}

bool canStart(const std::vector<uint8_t> &slot) { return imageSize(slot) != 0; }

Entry *active() {
  Entry *found = nullptr;
  for (Entry &one : entries) {
    if (one.counts() && (found == nullptr || one.number > found->number)) found = &one;
  }
  return found;
}

std::vector<uint8_t> content(const std::string &folder, unsigned slot) {
  const std::string path = folder + "/slot" + std::to_string(slot);
  std::vector<uint8_t> found(SIZE, 0xff);
  if (!std::filesystem::exists(path)) return found;
  const std::string image = readFile(path);
  std::copy(image.begin(), image.end(), found.begin());
  return found;
}

}  // namespace

// As the core has it, which asks before setup().
extern "C" __attribute__((weak)) bool verifyRollbackLater() { return false; }

esp_reset_reason_t esp_reset_reason() { return static_cast<esp_reset_reason_t>(chip.resetReason); }

const esp_partition_t *esp_ota_get_running_partition() { return &SLOTS[running]; }

const esp_partition_t *esp_ota_get_boot_partition() {
  const Entry *now = active();
  return &SLOTS[now == nullptr ? 0 : now->slot()];
}

const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *) {
  return &SLOTS[chip.oneSlot ? running : 1 - running];
}

const esp_partition_t *esp_partition_find_first(esp_partition_type_t, esp_partition_subtype_t subtype, const char *) {
  for (const esp_partition_t &one : SLOTS) {
    if (one.subtype == subtype) return &one;
  }
  return nullptr;
}

esp_err_t esp_ota_set_boot_partition(const esp_partition_t *partition) {
  const unsigned slot = partition == &SLOTS[1];
  if (slot != running && !canStart(chip.slot)) return -1;
  Entry *now = active();
  Entry &next = now == nullptr ? entries[0] : now->slot() == slot ? *now : entries[now == entries];
  flashOperation();
  next = {now == nullptr ? slot + 1 : now->slot() == slot ? now->number : now->number + 1, ESP_OTA_IMG_NEW};
  flashOperation();
  return ESP_OK;
}

esp_err_t esp_ota_get_state_partition(const esp_partition_t *partition, esp_ota_img_states_t *state) {
  for (const Entry &one : entries) {
    if (one.number == 0 || &SLOTS[one.slot()] != partition) continue;
    *state = static_cast<esp_ota_img_states_t>(one.state);
    return ESP_OK;
  }
  return -1;
}

esp_err_t esp_ota_mark_app_valid_cancel_rollback() {
  Entry *now = active();
  if (now != nullptr) now->state = ESP_OTA_IMG_VALID;
  return ESP_OK;
}

unsigned bootLoader(const std::string &folder) {
  if (std::filesystem::exists(folder + "/otadata")) {
    std::istringstream text(readFile(folder + "/otadata"));
    for (Entry &one : entries) text >> one.number >> one.state;
  }
  for (Entry &one : entries) {
    if (chip.waits && one.state == ESP_OTA_IMG_PENDING_VERIFY) one.state = ESP_OTA_IMG_ABORTED;
  }
  Entry *now = active();
  if (now != nullptr && chip.waits && now->state == ESP_OTA_IMG_NEW) now->state = ESP_OTA_IMG_PENDING_VERIFY;
  running = now == nullptr ? 0 : now->slot();
  if (!canStart(content(folder, running))) running = 1 - running;
  chip.slot = content(folder, 1 - running);
  const std::vector<uint8_t> runs = content(folder, running);
  std::copy(runs.begin(), runs.end(), chip.flash.begin());
  if (!verifyRollbackLater() && now != nullptr && now->state == ESP_OTA_IMG_PENDING_VERIFY) now->state = ESP_OTA_IMG_VALID;
  return running;
}

void saveSlots(const std::string &folder) {
  std::ostringstream text;
  for (const Entry &one : entries) text << one.number << ' ' << one.state << '\n';
  writeFile(folder + "/otadata", text.str());
  writeFile(folder + "/slot" + std::to_string(1 - running), std::string(chip.slot.begin(), chip.slot.end()));
}

bool isStaged() { return esp_ota_get_boot_partition() != &SLOTS[running]; }
std::string staged() { return std::string(chip.slot.begin(), chip.slot.begin() + imageSize(chip.slot)); }

void forgetStaged() {
  entries[0] = {1, ESP_OTA_IMG_UNDEFINED};
  entries[1] = {};
  running = 0;
}

bool startable() { return canStart(chip.slot); }
