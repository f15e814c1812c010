// Time and pins: the pins go nowhere.
#include <Arduino.h>

extern "C" {
unsigned long millis(void) { return static_cast<unsigned long>(clock() / (CLOCKS_PER_SEC / 1000)); }
void delay(uint32_t) {}
void pinMode(uint8_t, uint8_t) {}
void digitalWrite(uint8_t, uint8_t) {}
}
