// The chip itself.
#include "chip.h"

#include <cstdio>

Chip chip;

__attribute__((weak)) void flashOperation() {}
__attribute__((weak)) void powerFails() {}

void Chip::start() {
  milliseconds = 0;
  asksForTime = false;
  restarted = false;
  stagedAt = stagedSize = 0;
}

void Chip::take(int size) {
  given += static_cast<uint32_t>(size);
  if (cutAfter != 0 && given >= cutAfter) powerFails();
}

uint8_t *Chip::writeMac(uint8_t *bytes) const {
  sscanf(mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", bytes, bytes + 1, bytes + 2, bytes + 3, bytes + 4, bytes + 5);
  return bytes;
}

uint32_t Chip::noise() {
  chance = chance * 1664525u + 1013904223u;
  return chance;
}
