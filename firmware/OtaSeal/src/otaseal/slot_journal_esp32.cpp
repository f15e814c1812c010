#if defined(ARDUINO_ARCH_ESP32)

#include "slot_journal.h"

#include <nvs.h>

#include <initializer_list>

namespace otaseal {

static constexpr char SPACE[] = "otaseal", FILE_NAME[] = "download", DONE[] = "done";

// One space of NVS, open as long as this is there.
class Settings {
 public:
  Settings() : _open(nvs_open(SPACE, NVS_READWRITE, &_nvs) == ESP_OK) {}
  ~Settings() {
    if (_open) nvs_close(_nvs);
  }
  Settings(const Settings &) = delete;
  Settings &operator=(const Settings &) = delete;
  explicit operator bool() const { return _open; }
  operator nvs_handle_t() const { return _nvs; }

 private:
  nvs_handle_t _nvs = 0;
  const bool _open;
};

bool SlotJournal::load() {
  const Settings nvs;
  SlotJournal found;
  uint32_t done = 0;
  size_t size = sizeof found;
  if (!nvs || nvs_get_u32(nvs, DONE, &done) != ESP_OK) return false;
  if (nvs_get_blob(nvs, FILE_NAME, &found, &size) != ESP_OK || size != sizeof found || found.format != FORMAT) return false;
  *this = found;
  file.done = done;
  file.tag[sizeof file.tag - 1] = 0;
  return true;
}

void SlotJournal::begin() const {
  const Settings nvs;
  if (nvs && nvs_set_blob(nvs, FILE_NAME, this, sizeof *this) == ESP_OK) nvs_commit(nvs);
}

void SlotJournal::note() const {
  const Settings nvs;
  if (nvs && nvs_set_u32(nvs, DONE, file.done) == ESP_OK) nvs_commit(nvs);
}

// How far it has come goes first: without it the rest counts for nothing.
void SlotJournal::forget() {
  const Settings nvs;
  if (!nvs) return;
  for (const char *name : {DONE, FILE_NAME}) {
    if (nvs_erase_key(nvs, name) == ESP_OK) nvs_commit(nvs);
  }
}

}  // namespace otaseal

#endif
