#if defined(ARDUINO_ARCH_ESP32)

#include "trial.h"

#include <Arduino.h>
#include <esp_ota_ops.h>
#include <esp_system.h>
#include <nvs.h>
#include <string.h>

// Else the core calls an image good before setup(). Without "C" it would not be found, and nobody would say so.
extern "C" bool verifyRollbackLater() { return true; }

namespace otaseal {
namespace trial {

namespace {

constexpr uint8_t FORMAT = 1;
constexpr char SPACE[] = "otaseal", NAME[] = "trial";

struct Note {
  uint8_t format;
  uint8_t slot, before;   // subtypes of partitions: of the image on trial, and of what ran before
  uint8_t starts, wakes;  // so far
  uint8_t reason;         // an Error: why it gave way; 0: it has not
  uint8_t payload[sizeof Record().payload];
};

// One for the chip, however many objects there are.
Note note;
bool known, on, begun;
uint8_t mostStarts = STARTS;
uint32_t mostSeconds = SECONDS;

void load() {
  nvs_handle_t nvs;
  size_t size = sizeof note;
  if (nvs_open(SPACE, NVS_READWRITE, &nvs) != ESP_OK) return;
  known = nvs_get_blob(nvs, NAME, &note, &size) == ESP_OK && size == sizeof note && note.format == FORMAT;
  nvs_close(nvs);
}

bool save() {
  nvs_handle_t nvs;
  if (nvs_open(SPACE, NVS_READWRITE, &nvs) != ESP_OK) return false;
  known = nvs_set_blob(nvs, NAME, &note, sizeof note) == ESP_OK && nvs_commit(nvs) == ESP_OK;
  nvs_close(nvs);
  return known;
}

void forget() {
  nvs_handle_t nvs;
  known = false;
  if (nvs_open(SPACE, NVS_READWRITE, &nvs) != ESP_OK) return;
  if (nvs_erase_key(nvs, NAME) == ESP_OK) nvs_commit(nvs);
  nvs_close(nvs);
}

const esp_partition_t *slot(uint8_t subtype) {
  return esp_partition_find_first(ESP_PARTITION_TYPE_APP, static_cast<esp_partition_subtype_t>(subtype), nullptr);
}

bool isRunning(uint8_t subtype) { return esp_ota_get_running_partition()->subtype == subtype; }

esp_ota_img_states_t state(const esp_partition_t *partition) {
  esp_ota_img_states_t found = ESP_OTA_IMG_UNDEFINED;
  if (partition != nullptr) esp_ota_get_state_partition(partition, &found);
  return found;
}

// An update, of which nobody has said that it works; what a cable has brought is UNDEFINED.
bool isUnproven() {
  const esp_ota_img_states_t own = state(esp_ota_get_running_partition());
  return own == ESP_OTA_IMG_PENDING_VERIFY || own == ESP_OTA_IMG_NEW;
}

bool wokeUp() { return esp_reset_reason() == ESP_RST_DEEPSLEEP; }

// Whether what was on trial was given up by other than the library: by the boot loader, for which it did not start or not
// come so far as to count, or by the sketch, with Update.rollBack(). A cable leaves no word of it.
bool wasGivenUp() {
  esp_ota_img_states_t found;
  const esp_partition_t *tried = slot(note.slot), *boot = esp_ota_get_boot_partition();
  if (tried == nullptr || esp_ota_get_state_partition(tried, &found) != ESP_OK) return false;
  if (note.starts != 0 || note.wakes != 0) return true;
  return found == ESP_OTA_IMG_ABORTED || found == ESP_OTA_IMG_PENDING_VERIFY || (boot == tried && !wokeUp());
}

// What came another way, or was given back to, is not on trial: the boot loader need not wait for its word.
void settle() {
  if (isUnproven()) esp_ota_mark_app_valid_cancel_rollback();
  if (!known) return;
  if (isRunning(note.slot)) {
    forget();
  } else if (note.reason == 0 && wasGivenUp()) {
    note.reason = static_cast<uint8_t>(Error::Restarts);
    save();
  }
}

unsigned counted() { return note.starts + note.wakes / WAKES; }  // in whole starts

bool count() {
  uint8_t &kind = wokeUp() ? note.wakes : note.starts;
  if (kind < UINT8_MAX) kind++;
  return save();
}

}  // namespace

void limit(uint8_t starts, uint32_t seconds) {
  mostStarts = starts;
  mostSeconds = seconds < LONGEST ? seconds : LONGEST;
}

void announce(const Record &tried) {
  const esp_partition_t *boot = esp_ota_get_boot_partition();
  if (boot == nullptr) return;
  note = Note();
  note.format = FORMAT;
  note.slot = static_cast<uint8_t>(boot->subtype);
  note.before = static_cast<uint8_t>(esp_ota_get_running_partition()->subtype);
  memcpy(note.payload, tried.payload, sizeof note.payload);
  save();
}

Error start() {
  if (begun) return Error::None;
  begun = true;
  load();
  on = known && isRunning(note.slot) && isUnproven();
  if (!on) {
    settle();
    return Error::None;
  }
  if (note.reason != 0) return static_cast<Error>(note.reason);  // the power failed while it gave way
  if (mostStarts == 0) {
    confirm();
    return Error::None;
  }
  const bool kept = count();
  if (counted() > mostStarts) return Error::Restarts;
  // A boot loader that waits for a word takes the next start for the proof that there will be none.
  const esp_partition_t *running = esp_ota_get_running_partition();
  const bool waits = state(running) == ESP_OTA_IMG_PENDING_VERIFY;
  if (waits && kept && counted() < mostStarts) esp_ota_set_boot_partition(running);
  return Error::None;
}

bool isOn() { return on; }
bool isOverdue(uint32_t now) { return on && now / 1000 >= mostSeconds; }

void confirm() {
  if (!on) return;
  on = false;
  esp_ota_mark_app_valid_cancel_rollback();
  forget();
}

bool giveWay(Error why) {
  if (note.reason == 0) {
    note.reason = static_cast<uint8_t>(why);
    save();
  }
  const esp_partition_t *before = slot(note.before);
  if (before == nullptr || esp_ota_set_boot_partition(before) != ESP_OK) {
    confirm();
    return false;
  }
  on = false;
  return true;
}

Error verdict(const Record &tried) {
  const bool same = known && !isRunning(note.slot) && memcmp(note.payload, tried.payload, sizeof note.payload) == 0;
  return same ? static_cast<Error>(note.reason) : Error::None;
}

}  // namespace trial
}  // namespace otaseal

#endif
