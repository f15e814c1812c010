// The chip and its radio, as the ESP8266's core shows them; arduino-pico's, too, where the library asks for the same.
#include <ESP8266WiFi.h>
#include <LittleFS.h>

#include "chip.h"

EspClass ESP;
ESP8266WiFiClass WiFi;
FS LittleFS;

void EspClass::restart() { chip.restarted = true; }
uint32_t EspClass::random() { return chip.noise(); }
uint32_t EspClass::getFreeHeap() { return chip.freeHeap; }
uint32_t EspClass::getChipId() { return 0xf004cb; }
uint32_t EspClass::getSketchSize() { return chip.sketchSize; }
uint32_t EspClass::getFlashChipRealSize() { return static_cast<uint32_t>(chip.flash.size()); }
const char *EspClass::getSdkVersion() { return "2.2.2-dev(38a443e)"; }

uint32_t EspClass::magicFlashChipSize(uint8_t bits) {
  static const uint32_t kilobytes[16] = {512, 256, 1024, 2048, 4096, 0, 0, 0, 8192, 16384};
  return kilobytes[bits & 15] << 10;
}

uint32_t EspClass::getFreeSketchSpace() { return chip.filesystem - ((chip.sketchSize + 4095) & ~4095u); }

bool EspClass::flashRead(uint32_t address, uint8_t *data, size_t size) {
  if (address > chip.flash.size() || size > chip.flash.size() - address) return false;
  memcpy(data, chip.flash.data() + address, size);
  return true;
}

uint8_t *ESP8266WiFiClass::macAddress(uint8_t *mac) { return chip.writeMac(mac); }
String ESP8266WiFiClass::macAddress() { return chip.mac.c_str(); }
wl_status_t ESP8266WiFiClass::status() { return chip.online ? WL_CONNECTED : WL_DISCONNECTED; }
