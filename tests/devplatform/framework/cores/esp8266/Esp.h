// The chip itself.
#pragma once
#include <WString.h>

class Stream;

enum FlashMode_t { FM_QIO = 0x00, FM_QOUT = 0x01, FM_DIO = 0x02, FM_DOUT = 0x03, FM_UNKNOWN = 0xff };

class EspClass {
 public:
  static void wdtEnable(uint32_t = 0) {}
  static void wdtDisable() {}
  static void wdtFeed() {}
  static void deepSleep(uint64_t microseconds);
  [[noreturn]] static void reset();
  static void restart();
  static bool rtcUserMemoryRead(uint32_t offset, uint32_t *data, size_t size);
  static bool rtcUserMemoryWrite(uint32_t offset, uint32_t *data, size_t size);
  static uint32_t random();
  static bool flashRead(uint32_t address, uint8_t *data, size_t size);
  static uint32_t getChipId();
  static uint32_t getFreeHeap();
  static uint32_t getMaxFreeBlockSize();
  static uint8_t getHeapFragmentation();
  static const char *getSdkVersion();
  static String getCoreVersion();
  static String getFullVersion();
  static uint32_t getFlashChipId();
  static uint32_t getFlashChipRealSize();
  static uint32_t getFlashChipSize();
  static FlashMode_t getFlashChipMode();
  static uint32_t magicFlashChipSize(uint8_t bits);
  static uint32_t getSketchSize();
  static String getSketchMD5();
  static uint32_t getFreeSketchSpace();
  static bool updateSketch(Stream &in, uint32_t size, bool restart_on_fail = false, bool restart_on_success = true);
  static String getResetReason();
  static uint32_t getCycleCount();
  static uint8_t getCpuFreqMHz();
  static void setDramHeap();
  static void resetHeap();
};

extern EspClass ESP;

// The radio's noise: a register on the chip.
#define RANDOM_REG32 (EspClass::random())
