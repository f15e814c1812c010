// The port to earlephilhower/arduino-pico, on boards with Wi-Fi. What is downloaded becomes a file in LittleFS, and so does
// the order to the boot stub, which copies the one over the firmware because of the other.
#pragma once

#include <Arduino.h>

#include <HTTPClient.h>
#include <HTTPUpdate.h>
#include <WiFi.h>

namespace otaseal {
namespace port {

using HttpUpdater = HTTPUpdate;
constexpr bool CLOCK_NEEDS_NETWORK = true;  // before that, nothing of lwIP may be called
constexpr bool STOPS_BEFORE_WRITING = true;

inline uint32_t random() { return rp2040.hwrand32(); }
inline uint32_t freeHeap() { return static_cast<uint32_t>(rp2040.getFreeHeap()); }
inline void restart() { rp2040.restart(); }
void startClock(const char *first, const char *second);
// What its HTTP client reads from is not what it is connected by, so the core would close our connection with all others.
inline void prepare(HttpUpdater &updater) { updater.closeConnectionsOnUpdate(false); }
void beforeWriting();
inline void patience(Stream &stream, uint32_t milliseconds) { stream.setTimeout(milliseconds); }

}  // namespace port
}  // namespace otaseal
