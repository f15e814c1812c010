// What the updaters of the ESP8266 and the Pico have in common.
#include <Arduino.h>

UpdaterClass::UpdaterClass() {}
UpdaterClass::~UpdaterClass() {}

bool UpdaterClass::fail(uint8_t error) {
  _error = error;
  _size = 0;
  return false;
}
