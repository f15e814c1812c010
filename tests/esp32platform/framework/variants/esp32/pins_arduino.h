// The board's pins.
#pragma once
#define LED_BUILTIN 2
