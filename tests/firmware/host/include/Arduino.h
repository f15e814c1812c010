// Arduino of the development platform, with this chip's clock, noise and heap.
#pragma once
#pragma GCC system_header  // for the next line
#include_next <Arduino.h>

time_t chip_time(time_t *out);
#define time(out) chip_time(out)

void *chip_malloc(size_t size);
#define malloc(size) chip_malloc(size)

#undef RANDOM_REG32
#define RANDOM_REG32 chip.noise()
