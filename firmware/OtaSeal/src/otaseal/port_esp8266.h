// The port to esp8266/Arduino, core 3.0.2 and newer.
#pragma once

#include <Arduino.h>

#include <ESP8266HTTPClient.h>
#include <ESP8266WiFi.h>
#include <ESP8266httpUpdate.h>

#include "errors.h"

namespace otaseal {
namespace port {

using HttpUpdater = ESP8266HTTPUpdate;
constexpr bool CLOCK_NEEDS_NETWORK = false;
constexpr bool KEYS_OF_ANY_SIZE = true;
#if ARDUINO_ESP8266_MAJOR > 3 || (ARDUINO_ESP8266_MAJOR == 3 && ARDUINO_ESP8266_MINOR > 0)
constexpr bool STOPS_BEFORE_WRITING = true;
#else
constexpr bool STOPS_BEFORE_WRITING = false;  // it would crash
#endif

inline uint32_t random() { return RANDOM_REG32; }  // the radio's noise
inline uint32_t freeHeap() { return ESP.getFreeHeap(); }
inline void restart() { ESP.restart(); }
inline void startClock(const char *first, const char *second) { configTime(0, 0, first, second); }
inline void prepare(HttpUpdater &) {}
inline void beforeWriting() {}
struct Inspector {
  void begin() {}
  void add(const void *, uint32_t) {}
  Error error() const { return Error::None; }  // the core has looked at its first byte, and at its room
};
inline bool isStaged(const Inspector &) { return true; }
inline void discardFailed() {}
struct UpdateLock {
  bool held() const { return true; }  // there are no tasks
};
inline void discardInstalled() {}
inline String sketchMd5() { return ESP.getSketchMD5(); }
inline void patience(Stream &, uint32_t) {}

}  // namespace port
}  // namespace otaseal
