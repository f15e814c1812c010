// arduino-pico's updater: an update is a file in LittleFS, and so is the order to the boot stub (F12, F13, F53 to F55). No
// checks but those that the core has; of what it ignores, too: whether the trailer could be cut off, the order written.
#include <Arduino.h>
#include <LittleFS.h>
#include <PicoOTA.h>
#include <WiFi.h>

#include <cstring>

#include "device.h"
#include "disk.h"
#include "layout.h"

UpdaterClass Update;

namespace {

constexpr char IMAGE[] = "/firmware.bin", ORDER[] = "/otacommand.bin", SIGN[] = "Pico OTA";
constexpr size_t PIECE = 128;

fs::File image;  // stays open when an update fails, until the next one is begun

uint32_t crc32(const void *data, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; i++) {
    crc ^= static_cast<const uint8_t *>(data)[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

// Returns what the boot stub would write to flash: a raw image's size, or that of what a gzip says it holds.
uint32_t contents(fs::File &file) {
  uint8_t two[2] = {}, size[4] = {};
  file.read(two, sizeof two);
  if (two[0] != 0x1f || two[1] != 0x8b) return static_cast<uint32_t>(file.size());
  file.seek(static_cast<uint32_t>(file.size()) - 4);
  file.read(size, sizeof size);
  return size[0] | size[1] << 8 | size[2] << 16 | static_cast<uint32_t>(size[3]) << 24;
}

void giveOrder() {
  OTACmdPage order = {};
  memcpy(order.sign, SIGN, sizeof order.sign);
  fs::File file = LittleFS.open(IMAGE, "r");
  if (file) {
    order.count = 1;
    order.cmd[0].command = 1;
    strcpy(order.cmd[0].name, "firmware.bin");
    order.cmd[0].length = contents(file);
    order.cmd[0].address = FLASH_BASE;
    file.close();
  }
  order.crc32 = crc32(&order, offsetof(OTACmdPage, crc32));
  fs::File page = LittleFS.open(ORDER, "w");
  if (!page) return;
  page.write(reinterpret_cast<const uint8_t *>(&order), sizeof order);
  page.close();
}

}  // namespace

void restartUpdater() {
  Update = UpdaterClass();
  image = fs::File();
}

bool isStaged() {
  const auto found = disk.files.find(ORDER);
  OTACmdPage order;
  if (found == disk.files.end() || found->second.size() != sizeof order) return false;
  memcpy(&order, found->second.data(), sizeof order);
  return memcmp(order.sign, SIGN, sizeof order.sign) == 0 && order.count == 1 && disk.files.count(IMAGE) != 0 &&
         order.crc32 == crc32(&order, offsetof(OTACmdPage, crc32));
}

std::string staged() { return disk.files[IMAGE]; }

bool startable() { return isStaged(); }

void forgetStaged() { disk.files.erase(ORDER); }

bool UpdaterClass::begin(size_t size, int, int, uint8_t) {
  if (_size > 0) return false;  // and says no error
  if (size == 0) return fail(UPDATE_ERROR_SIZE);
  _error = UPDATE_ERROR_OK;
  _written = 0;
  if (size > FILES_END - FILES_BEGIN || !LittleFS.begin()) return fail(UPDATE_ERROR_SPACE);
  fs::File opened = LittleFS.open(IMAGE, "w+");
  image.close();
  image = opened;
  if (!image) return fail(UPDATE_ERROR_SPACE);
  _size = size;
  return true;
}

bool UpdaterClass::setMD5(const char *expected) { return strlen(expected) == 32; }

size_t UpdaterClass::write(uint8_t *data, size_t size) {
  if (_size == 0 || size > _size - _written) return fail(UPDATE_ERROR_SPACE);
  if (image.write(data, size) != size) return fail(UPDATE_ERROR_SPACE);
  _written += size;
  return size;
}

bool UpdaterClass::end(bool) {
  if (_size == 0) return false;
  if (_written == 0) return fail(UPDATE_ERROR_NO_DATA);
  if (_written < _size) return fail(UPDATE_ERROR_OK);
  const uint32_t expected = _verify->length();
  uint8_t word[4] = {}, piece[PIECE];
  image.seek(static_cast<uint32_t>(_size) - 4);
  image.read(word, sizeof word);
  const uint32_t length = word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
  if (length != expected) return fail(UPDATE_ERROR_SIGN);
  const int size = static_cast<int>(_size) - static_cast<int>(length) - 4;  // negative for what is all trailer
  _hash->begin();
  image.seek(0);
  for (int at = 0; at < size; at += static_cast<int>(PIECE)) {
    image.read(piece, PIECE);
    _hash->add(piece, static_cast<uint32_t>(std::min<int>(PIECE, size - at)));
  }
  _hash->end();
  std::vector<uint8_t> signature(length);
  image.seek(static_cast<uint32_t>(size));
  image.read(signature.data(), length);
  if (!_verify->verify(_hash, signature.data(), length)) return fail(UPDATE_ERROR_SIGN);
  image.truncate(static_cast<uint32_t>(size));
  image.close();
  giveOrder();
  _size = 0;
  return true;
}
