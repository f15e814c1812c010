// The chip's clock and heap. Its time passes when a program waits, so that a test of a day takes no time.
#include <Arduino.h>

#include "chip.h"

#undef time
#undef malloc

void *chip_malloc(size_t size) { return size <= chip.largestBlock ? malloc(size) : nullptr; }

extern "C" {
void delay(unsigned long milliseconds) { chip.milliseconds += static_cast<uint32_t>(milliseconds); }
void yield(void) { chip.milliseconds++; }
unsigned long millis(void) { return chip.milliseconds; }
}

time_t chip_time(time_t *out) {
  const bool set = chip.asksForTime && chip.online && chip.networkTime != 0 && chip.milliseconds > 1000;
  const time_t now = (set ? chip.networkTime : chip.timeAtStart) + chip.milliseconds / 1000;
  if (out != nullptr) *out = now;
  return now;
}

void configTime(int, int, const char *, const char *, const char *) { chip.asksForTime = true; }
