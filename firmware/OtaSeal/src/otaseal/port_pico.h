// The port to earlephilhower/arduino-pico, core 5.5.0 and newer, on boards with Wi-Fi. What is downloaded becomes a file
// in LittleFS, and so does the order to the boot stub, which copies the one over the firmware because of the other.
#pragma once

#include <Arduino.h>

#include <HTTPClient.h>
#include <WiFi.h>

#include "errors.h"

#if ARDUINO_PICO_MAJOR < 5 || (ARDUINO_PICO_MAJOR == 5 && ARDUINO_PICO_MINOR < 5)
#error "OtaSeal needs arduino-pico 5.5.0 or newer: before, the boot stub copied the signature, too"
#endif

namespace otaseal {
namespace port {

constexpr bool CLOCK_NEEDS_NETWORK = true;  // before that, nothing of lwIP may be called
constexpr bool KEYS_OF_ANY_SIZE = false;  // nothing but the updater can read the end of the file that it has open

inline uint32_t random() { return rp2040.hwrand32(); }
inline uint32_t freeHeap() { return static_cast<uint32_t>(rp2040.getFreeHeap()); }
inline void restart() { rp2040.restart(); }
void startClock(const char *first, const char *second);
void describe(HTTPClient &http, const String &version);
inline void beforeTaking(WiFiClient &) {}  // a file is written: other connections can stay
void beforeWriting();
// Firmware that can use Bluetooth keeps its pairings within its own image (F131): what is in flash is not what was built.
#if CYW43_ENABLE_BLUETOOTH
constexpr bool PATCHES = false;
#else
constexpr bool PATCHES = true;
#endif
uint32_t sketchSize();
bool readSketch(uint32_t offset, void *buffer, size_t size);
String sketchMd5();
inline void patience(Stream &stream, uint32_t milliseconds) { stream.setTimeout(milliseconds); }

// The core takes any file, and the boot stub writes it to the beginning of flash, however long it is. So this looks where
// every image tells the stub where LittleFS lies, and at the word behind: the application's stack, which each chip has
// elsewhere. Of a gzip only the size can be told.
class Inspector {
 public:
  void begin() { _size = 0; }
  void add(const void *data, uint32_t size);
  uint32_t size() const { return _size; }
  Error error() const;

  struct Layout {
    uint32_t start, end;          // of LittleFS
    uint32_t eeprom, flashSize;   // not looked at
    uint32_t stack;
  };
  static Layout own();  // of what runs

 private:
  static constexpr uint32_t LAYOUT_AT = 0x2ff0;  // in flash, and in an image

  Layout _layout;
  uint32_t _last;  // four bytes: those at the end of a gzip are the size of what was packed
  uint32_t _size = 0;
  uint8_t _first[2];
};

constexpr char IMAGE[] = "/firmware.bin";  // what the boot stub copies
uint32_t filesystemSize();                 // bytes
bool isStaged(const Inspector &inspector);
void discardFailed();
void discardInstalled();
struct UpdateLock {
  bool held() const { return true; }  // the second core may not call lwIP either
};

}  // namespace port
}  // namespace otaseal
