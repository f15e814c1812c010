// Constants are read from flash as from RAM on this chip.
#pragma once
#define PROGMEM
