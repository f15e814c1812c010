#if defined(ARDUINO_ARCH_RP2040)

#include "port_pico.h"

#include <PicoOTA.h>
#include <lwip/apps/sntp.h>
#include <lwip_wrap.h>

#include "crypto.h"
#include "file_update.h"
#include "files.h"
#include "proof.h"
#include "request.h"
#include "staged_trailer.h"

extern "C" const uint8_t __flash_binary_end;  // of the core's linker scripts: firmware.bin ends there

namespace otaseal {
namespace port {

static constexpr char ORDER[] = "/otacommand.bin";
static constexpr uint32_t FLASH = 0x10000000;  // where an image says that flash begins

// The core's NTP.begin() waits up to five seconds for each name, and never asks again for one that it did not get: lwIP
// itself looks names up in the background, as often as it needs them.
void startClock(const char *first, const char *second) {
  LWIPMutex held;
  sntp_stop();
  sntp_setoperatingmode(SNTP_OPMODE_POLL);
  sntp_setservername(0, first);
  sntp_setservername(1, second);
  sntp_init();
}

static const char PREFIX[] PROGMEM = "x-Pico-";

void describe(HTTPClient &http, const String &version) {
  http.setUserAgent(F("Pico-HTTP-Update"));
  addHeader(http, PREFIX, PSTR("Chip-ID"), rp2040.getChipID());
  addHeader(http, PREFIX, PSTR("STA-MAC"), WiFi.macAddress());
  addHeader(http, PREFIX, PSTR("AP-MAC"), WiFi.softAPmacAddress());
  if constexpr (PATCHES) addHeader(http, PREFIX, PSTR("sketch-md5"), sketchMd5());
  addHeader(http, PREFIX, PSTR("Mode"), F("sketch"));
  if (version.length() > 0) addHeader(http, PREFIX, PSTR("Version"), version);
}

uint32_t sketchSize() { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&__flash_binary_end) - XIP_BASE); }

bool readSketch(uint32_t offset, void *buffer, size_t size) {
  memcpy(buffer, reinterpret_cast<const void *>(XIP_BASE + offset), size);
  return true;
}

// A tenth of a second or two, once: what runs does not change.
String sketchMd5() {
  static char digits[2 * br_md5_SIZE + 1];
  if (PATCHES && digits[0] == 0) {
    uint8_t md5[br_md5_SIZE];
    br_md5_context hash;
    br_md5_init(&hash);
    br_md5_update(&hash, reinterpret_cast<const void *>(XIP_BASE), sketchSize());
    br_md5_out(&hash, md5);
    hex(md5, sizeof md5, digits);
  }
  return digits;
}

// First the order: with one left over from an update that was not restarted into, a reset during this download would have
// the boot stub copy half of it. Then the old image: a file that is written anew takes its old blocks until it is closed.
void beforeWriting() {
  files::discard(ORDER);
  files::discard(IMAGE);
}

// Copies into `kept`, which is what stands at `from` in a file, whatever of it is in the piece at `at`.
static void keep(void *kept, uint32_t from, uint32_t room, const uint8_t *piece, uint32_t at, uint32_t size) {
  for (uint32_t i = from > at ? from - at : 0; i < size && at + i < from + room; i++) {
    static_cast<uint8_t *>(kept)[at + i - from] = piece[i];
  }
}

void Inspector::add(const void *data, uint32_t size) {
  const uint8_t *piece = static_cast<const uint8_t *>(data);
  keep(_first, 0, sizeof _first, piece, _size, size);
  keep(&_layout, LAYOUT_AT, sizeof _layout, piece, _size, size);
  for (uint32_t i = size > sizeof _last ? size - sizeof _last : 0; i < size; i++) {
    _last = _last >> 8 | static_cast<uint32_t>(piece[i]) << 24;
  }
  _size += size;
}

Inspector::Layout Inspector::own() {
  Layout found;
  memcpy(&found, reinterpret_cast<const void *>(XIP_BASE + LAYOUT_AT), sizeof found);
  return found;
}

uint32_t filesystemSize() { return Inspector::own().end - Inspector::own().start; }

Error Inspector::error() const {
  const Layout own = Inspector::own();
  const uint32_t room = own.start - FLASH;
  if (_size > sizeof _last && _first[0] == 0x1f && _first[1] == 0x8b) return _last > room ? Error::Space : Error::None;
  if (_size < LAYOUT_AT + sizeof own || _layout.stack != own.stack) return Error::NotFirmware;
  if (_layout.start != own.start || _layout.end != own.end) return Error::Board;
  return _size > room ? Error::Space : Error::None;
}

static bool isOrder() {
  char sign[8];
  fs::File file = files::open(ORDER);
  return file && file.size() == sizeof(OTACmdPage) &&
         file.read(reinterpret_cast<uint8_t *>(sign), sizeof sign) == sizeof sign &&
         memcmp(sign, "Pico OTA", sizeof sign) == 0;
}

// In a full filesystem the core can cut off no trailer, or write no order, and says that all went well.
bool isStaged(const Inspector &inspector) { return isOrder() && files::size(IMAGE) == inspector.size(); }

// The updater closes the file of an update that failed only when it opens that of the next one.
void discardFailed() {
  beforeWriting();
  Update.begin(1);
  Update.end();
  files::discard(IMAGE);
}

// The boot stub erases the order's contents, and leaves both files: new certificates may need the room.
void discardInstalled() {
  if (isOrder()) return;
  FileUpdate::takeBack();
  beforeWriting();
}

}  // namespace port

// The updater still has its file open, and for others it is empty until it is closed. So both keys have to have one size.
uint32_t stagedTrailer() { return 0; }

}  // namespace otaseal

#endif
