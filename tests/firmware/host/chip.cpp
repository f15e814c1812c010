// The chip itself.
#include "chip.h"

Chip chip;

void Chip::start() {
  milliseconds = 0;
  asksForTime = false;
  restarted = false;
  stagedAt = stagedSize = 0;
}

uint32_t Chip::noise() {
  chance = chance * 1664525u + 1013904223u;
  return chance;
}
