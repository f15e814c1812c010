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

constexpr char IMAGE[] = "/firmware.bin", ORDER[] = "/otacommand.bin";
constexpr size_t PIECE = 128;

fs::File image;  // stays open when an update fails, until the next one is begun

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
  return memcmp(order.sign, "Pico OTA", sizeof order.sign) == 0 && order.count == 1 && disk.files.count(IMAGE) != 0 &&
         order.crc32 == checksum(order);
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
  picoOTA.begin();
  picoOTA.addFile(IMAGE + 1);
  picoOTA.commit();
  _size = 0;
  return true;
}
