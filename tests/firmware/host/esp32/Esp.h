// The chip, as arduino-esp32 has it.
#pragma once
#include <WString.h>
#include <stdint.h>

uint16_t runningChip();
#define CONFIG_IDF_FIRMWARE_CHIP_ID runningChip()  // a constant on a chip

class EspClass {
 public:
  static void restart();
  static uint32_t getFreeHeap();
  static uint32_t getFreeSketchSpace();
  static uint32_t getSketchSize();
  static String getSketchMD5();
  static uint32_t getFlashChipSize() { return 4 << 20; }
  static const char *getSdkVersion() { return "v4.4.7-dirty"; }
};

extern EspClass ESP;
