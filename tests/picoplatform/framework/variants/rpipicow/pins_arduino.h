// The board's pins: its LED hangs on the radio.
#pragma once
#define LED_BUILTIN 64
