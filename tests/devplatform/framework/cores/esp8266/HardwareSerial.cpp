// The serial ports: standard output on the host.
#include "HardwareSerial.h"

HardwareSerial Serial;
HardwareSerial Serial1;

size_t HardwareSerial::write(uint8_t byte) { return putchar(byte) == EOF ? 0 : 1; }
