// Arduino of the development platform, with this chip's clock.
#pragma once
#pragma GCC system_header  // for the next line
#include_next <Arduino.h>

time_t chip_time(time_t *out);
#define time(out) chip_time(out)
