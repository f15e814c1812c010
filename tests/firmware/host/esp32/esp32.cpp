// The chip, its radio and its noise, as arduino-esp32 shows them.
#include <LittleFS.h>
#include <WiFi.h>
#include <esp_random.h>
#include <hal/efuse_hal.h>

#include "chip.h"
#include "device.h"
#include "disk.h"

EspClass ESP;
WiFiClass WiFi;
LittleFSFS LittleFS;

uint16_t runningChip() { return chip.id; }

void EspClass::restart() { chip.restarted = true; }
uint32_t EspClass::getFreeHeap() { return chip.freeHeap; }
uint32_t EspClass::getFreeSketchSpace() { return static_cast<uint32_t>(chip.slot.size()); }
uint32_t EspClass::getSketchSize() { return chip.sketchSize; }
String EspClass::getSketchMD5() { return sketchMd5.c_str(); }

uint8_t *WiFiClass::macAddress(uint8_t *mac) { return chip.writeMac(mac); }
String WiFiClass::macAddress() { return chip.mac.c_str(); }
wl_status_t WiFiClass::status() { return chip.online ? WL_CONNECTED : WL_DISCONNECTED; }

uint32_t esp_random() { return chip.noise(); }
uint32_t efuse_hal_chip_revision() { return chip.revision; }

void esp_fill_random(void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) static_cast<uint8_t *>(bytes)[i] = static_cast<uint8_t>(chip.noise() >> 24);
}

bool LittleFSFS::begin(bool formatOnFail) {
  setConfig(fs::FSConfig(0, formatOnFail));
  return FS::begin();
}
