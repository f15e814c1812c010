// arduino-pico: what its WiFi.h brings along, and the chip itself.
#pragma once
#include <ESP8266WiFi.h>
#include <chip.h>

#define ARDUINO_PICO_MAJOR 6
#define ARDUINO_PICO_MINOR 0

uintptr_t runningImage();  // its first bytes, where flash begins
#define XIP_BASE runningImage()

struct RP2040 {
  static uint32_t hwrand32() { return chip.noise(); }
  static const char *getChipID() { return "E66058388361A52E"; }
  static int getFreeHeap() { return static_cast<int>(chip.freeHeap); }
  static void restart() { chip.restarted = true; }
};

extern RP2040 rp2040;
