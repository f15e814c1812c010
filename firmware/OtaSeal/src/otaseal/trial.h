// An update on trial, on an ESP32, where the firmware before it is still in the other slot: until the server has answered
// the new one for the first time, it may start so often and take so long, and then gives way. What there is to remember
// lies in NVS, which both of them can read, whatever the new one makes of the filesystem. Other chips have no other slot.
#pragma once

#include <stdint.h>

#include "errors.h"
#include "persistent_state.h"

namespace otaseal {
namespace trial {

constexpr uint32_t RETRY = 15 * 60;  // seconds at most from a poll that failed to the next one

#if defined(ARDUINO_ARCH_ESP32)

constexpr uint8_t STARTS = 5, WAKES = 20;  // so many wake-ups from deep sleep count as one other start
constexpr uint32_t SECONDS = 24 * 3600, LONGEST = 30 * SECONDS;  // of one start

void limit(uint8_t starts, uint32_t seconds);  // before the start; no starts: no trial
void announce(const Record &tried);            // the update in the other slot is started next, and on trial then
Error start();               // counts a start, the first time it is called; not None: why what runs has to give way
bool isOn();                 // what runs has not proven itself yet
bool isOverdue(uint32_t now);  // milliseconds since the start
void confirm();              // it has

// Has the firmware before started from now on; false: that cannot be started any more, so what runs is confirmed.
bool giveWay(Error why);

// Why the release that was tried last gave way to what runs; None: it did not.
Error verdict(const Record &tried);

#else

inline void announce(const Record &) {}
inline Error start() { return Error::None; }
inline bool isOn() { return false; }
inline bool isOverdue(uint32_t) { return false; }
inline void confirm() {}
inline bool giveWay(Error) { return false; }
inline Error verdict(const Record &) { return Error::None; }

#endif

}  // namespace trial
}  // namespace otaseal
