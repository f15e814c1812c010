// The chip itself.
#include "chip.h"

#include <cstdio>

Chip chip;

void Chip::start() {
  milliseconds = 0;
  asksForTime = false;
  restarted = false;
  stagedAt = stagedSize = 0;
}

uint8_t *Chip::writeMac(uint8_t *bytes) const {
  sscanf(mac.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", bytes, bytes + 1, bytes + 2, bytes + 3, bytes + 4, bytes + 5);
  return bytes;
}

uint32_t Chip::noise() {
  chance = chance * 1664525u + 1013904223u;
  return chance;
}
