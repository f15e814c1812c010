// The port to espressif/arduino-esp32, core 2.0.17 and newer: the ESP32 and all chips after it. Firmware runs from one of
// two slots, and an update goes into the other one.
#pragma once

#include <Arduino.h>

#include <HTTPClient.h>
#include <WiFi.h>
#include <esp_arduino_version.h>
#include <esp_random.h>

#include "errors.h"

#if ESP_ARDUINO_VERSION < ESP_ARDUINO_VERSION_VAL(2, 0, 17)
#error "OtaSeal needs arduino-esp32 2.0.17 or newer"
#endif

namespace otaseal {
namespace port {

constexpr bool CLOCK_NEEDS_NETWORK = false;
constexpr bool KEYS_OF_ANY_SIZE = true;

inline uint32_t random() { return esp_random(); }
inline uint32_t freeHeap() { return ESP.getFreeHeap(); }
inline void restart() { ESP.restart(); }
inline void startClock(const char *first, const char *second) { configTime(0, 0, first, second); }
bool hasOtherSlot();
inline void beforeTaking(WiFiClient &) {}
void beforeWriting();
inline void discardInstalled() {}
constexpr bool PATCHES = true;
inline uint32_t sketchSize() { return ESP.getSketchSize(); }
bool readSketch(uint32_t offset, void *buffer, size_t size);
inline String sketchMd5() { return ESP.getSketchMD5(); }
inline void patience(Stream &stream, uint32_t milliseconds) { stream.setTimeout(milliseconds); }

void describe(HTTPClient &http, const String &version);

// Looks at what the boot loader looks at first, so that what it would refuse is not written.
class Inspector {
 public:
  void begin() { _held = 0; }
  void add(const void *data, uint32_t size);
  Error error() const;

 private:
  static constexpr uint32_t HEADER = 24;

  uint8_t _header[HEADER];
  uint32_t _held = 0;
};

// One update at a time, in whichever task.
class UpdateLock {
 public:
  UpdateLock();
  ~UpdateLock();
  UpdateLock(const UpdateLock &) = delete;
  UpdateLock &operator=(const UpdateLock &) = delete;
  bool held() const { return _held; }

 private:
  const bool _held;
};

}  // namespace port
}  // namespace otaseal
