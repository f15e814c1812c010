// Arduino of the development platform, with the host's clock and heap.
#pragma once
#pragma GCC system_header  // for the next line
#include_next <Arduino.h>

time_t chip_time(time_t *out);
#define time(out) chip_time(out)

void *chip_malloc(size_t size);
#define malloc(size) chip_malloc(size)
