#if defined(ARDUINO_ARCH_ESP32)

#include "port_esp32.h"

#include <esp_ota_ops.h>
#include <hal/efuse_hal.h>

#include <atomic>

#include "request.h"
#include "trial.h"

namespace otaseal {
namespace port {

static constexpr uint8_t MAGIC = 0xe9;
static constexpr uint32_t MAGIC_AT = 0, CHIP_AT = 12, REVISION_AT = 15;  // in the header, the last two of 16 bits

// With one slot in the partition table, ESP-IDF names the one that runs as the next: writing to it resets the chip.
bool hasOtherSlot() { return esp_ota_get_next_update_partition(nullptr) != esp_ota_get_running_partition(); }

// An update that waits for a restart lies in the slot that is written now: the boot loader must not go there any more, and
// that it goes to what runs is no news of it. The firmware before it is not there any more either.
void beforeWriting() {
  const esp_partition_t *running = esp_ota_get_running_partition();
  trial::confirm();
  if (esp_ota_get_boot_partition() == running) return;
  if (esp_ota_set_boot_partition(running) == ESP_OK) esp_ota_mark_app_valid_cancel_rollback();
}

bool readSketch(uint32_t offset, void *buffer, size_t size) {
  return esp_partition_read(esp_ota_get_running_partition(), offset, buffer, size) == ESP_OK;
}

static const char PREFIX[] = "x-ESP32-";

void describe(HTTPClient &http, const String &version) {
  const String md5 = sketchMd5();
  http.setUserAgent("ESP32-http-Update");
  http.addHeader("Cache-Control", "no-cache");
  addHeader(http, PREFIX, "STA-MAC", WiFi.macAddress());
  addHeader(http, PREFIX, "AP-MAC", WiFi.softAPmacAddress());
  addHeader(http, PREFIX, "free-space", String(ESP.getFreeSketchSpace()));
  addHeader(http, PREFIX, "sketch-size", String(sketchSize()));
  if (md5.length() > 0) addHeader(http, PREFIX, "sketch-md5", md5);
  addHeader(http, PREFIX, "chip-size", String(ESP.getFlashChipSize()));
  addHeader(http, PREFIX, "sdk-version", ESP.getSdkVersion());
  addHeader(http, PREFIX, "mode", "sketch");
  if (version.length() > 0) addHeader(http, PREFIX, "version", version);
}

void Inspector::add(const void *data, uint32_t size) {
  const uint32_t taken = size < HEADER - _held ? size : HEADER - _held;
  memcpy(_header + _held, data, taken);
  _held += taken;
}

Error Inspector::error() const {
  const auto number = [this](uint32_t at) -> unsigned { return _header[at] | _header[at + 1] << 8; };
  if (_held < HEADER || _header[MAGIC_AT] != MAGIC) return Error::NotFirmware;
  if (number(CHIP_AT) != CONFIG_IDF_FIRMWARE_CHIP_ID) return Error::NotFirmware;
  return number(REVISION_AT) > efuse_hal_chip_revision() ? Error::NotFirmware : Error::None;
}

static std::atomic_flag updating = ATOMIC_FLAG_INIT;

UpdateLock::UpdateLock() : _held(!updating.test_and_set()) {}
UpdateLock::~UpdateLock() {
  if (_held) updating.clear();
}

}  // namespace port
}  // namespace otaseal

#endif
