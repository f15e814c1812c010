// The NodeMCU's pins.
#pragma once
#include <stdint.h>

#define LED_BUILTIN 2
#define LED_BUILTIN_AUX 16
static const uint8_t D0 = 16, D1 = 5, D2 = 4, D3 = 0, D4 = 2, D5 = 14, D6 = 12, D7 = 13, D8 = 15, D9 = 3, D10 = 1;
static const uint8_t A0 = 17;
