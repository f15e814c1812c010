// The updater, which on this core is a library, and verifies no signature.
#pragma once
#include <Arduino.h>

#define UPDATE_SIZE_UNKNOWN 0xFFFFFFFF
#define U_FLASH 0
#define U_SPIFFS 100

class UpdateClass {
 public:
  UpdateClass();
  bool begin(size_t size = UPDATE_SIZE_UNKNOWN, int command = U_FLASH, int pin = -1, uint8_t on = LOW,
             const char *label = nullptr);
  size_t write(uint8_t *data, size_t size);
  bool end(bool even_if_remaining = false);

 private:
  size_t _size;
};

extern UpdateClass Update;
