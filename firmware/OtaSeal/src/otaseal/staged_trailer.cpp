#if defined(ARDUINO_ARCH_ESP8266)

#include "staged_trailer.h"

#include <Arduino.h>
#include <Updater.h>
#include <flash_hal.h>

namespace otaseal {

// New firmware is written so that its last sector ends where the filesystem begins. A wrong guess does no harm: the updater
// then finds another length than it was told, and refuses.
uint32_t stagedTrailer() {
  constexpr uint32_t SECTOR = 4096;
  const uint32_t size = Update.size(), end = FS_PHYS_ADDR;
  const uint32_t rounded = (size + SECTOR - 1) & ~(SECTOR - 1);
  uint8_t word[4] = {};
  if (size < sizeof word || rounded > end) return 0;
  if (!ESP.flashRead(end - rounded + size - sizeof word, word, sizeof word)) return 0;
  return word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
}

}  // namespace otaseal

#endif
