// The port to esp8266/Arduino, core 3.0.2 and newer.
#pragma once

#include <Arduino.h>

#include <ESP8266HTTPClient.h>
#include <ESP8266WiFi.h>
#include <WiFiUdp.h>

#include "errors.h"

namespace otaseal {
namespace port {

constexpr bool CLOCK_NEEDS_NETWORK = false;
constexpr bool KEYS_OF_ANY_SIZE = true;
constexpr uint8_t FIRST_BYTES = 4;

inline uint32_t random() { return RANDOM_REG32; }  // the radio's noise
inline uint32_t freeHeap() { return ESP.getFreeHeap(); }
inline void restart() { ESP.restart(); }
inline void startClock(const char *first, const char *second) { configTime(0, 0, first, second); }
void describe(HTTPClient &http, const String &version);

// As the core's updater does.
inline void beforeTaking(WiFiClient &client) {
  WiFiUDP::stopAll();
  WiFiClient::stopAllExcept(&client);
  delay(100);
}

// The updater looks at the flash size at the end only.
inline Error judgeStart(const uint8_t *first) {
  if (first[0] != 0xe9) return first[0] == 0x1f ? Error::None : Error::NotFirmware;
#if !FLASH_MAP_SUPPORT  // else the header does not say it
  if (ESP.magicFlashChipSize(first[3] >> 4) > ESP.getFlashChipRealSize()) return Error::Flash;
#endif
  return Error::None;
}
struct Inspector {
  void begin() {}
  void add(const void *, uint32_t) {}
  Error error() const { return Error::None; }  // judgeStart() has looked at its first byte, and the core at its room
};
struct UpdateLock {
  bool held() const { return true; }  // there are no tasks
};
inline void discardInstalled() {}
constexpr bool PATCHES = true;
inline uint32_t sketchSize() { return ESP.getSketchSize(); }
inline bool readSketch(uint32_t offset, void *buffer, size_t size) {
  return ESP.flashRead(offset, static_cast<uint8_t *>(buffer), size);
}
inline String sketchMd5() { return ESP.getSketchMD5(); }
inline void patience(Stream &, uint32_t) {}

}  // namespace port
}  // namespace otaseal
