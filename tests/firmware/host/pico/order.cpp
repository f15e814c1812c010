// What gives the boot stub its order (F55).
#include <Arduino.h>
#include <LittleFS.h>
#include <PicoOTA.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "layout.h"

PicoOTA picoOTA;

static constexpr char ORDER[] = "/otacommand.bin";

uint32_t checksum(const OTACmdPage &order) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < offsetof(OTACmdPage, crc32); i++) {
    crc ^= reinterpret_cast<const uint8_t *>(&order)[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

// Returns what the boot stub would write to flash: a raw image's size, or that of what a gzip says it holds.
static uint32_t contents(fs::File &file) {
  uint8_t two[2] = {}, size[4] = {};
  file.read(two, sizeof two);
  if (two[0] != 0x1f || two[1] != 0x8b) return static_cast<uint32_t>(file.size());
  file.seek(static_cast<uint32_t>(file.size()) - 4);
  file.read(size, sizeof size);
  return size[0] | size[1] << 8 | size[2] << 16 | static_cast<uint32_t>(size[3]) << 24;
}

void PicoOTA::begin() {
  _order = {};
  memcpy(_order.sign, "Pico OTA", sizeof _order.sign);
}

bool PicoOTA::addFile(const char *name) {
  fs::File file = LittleFS.open((std::string("/") + name).c_str(), "r");
  if (!file) return false;
  auto &command = _order.cmd[_order.count++];
  command.command = 1;
  strcpy(command.name, name);
  command.length = contents(file);
  command.address = FLASH_BASE;
  return true;
}

bool PicoOTA::commit() {
  _order.crc32 = checksum(_order);
  fs::File page = LittleFS.open(ORDER, "w");
  if (!page) return false;
  const size_t written = page.write(reinterpret_cast<const uint8_t *>(&_order), sizeof _order);
  page.close();
  return written == sizeof _order;
}
