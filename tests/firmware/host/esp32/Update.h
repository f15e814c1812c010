// The updater of arduino-esp32 2.0.17 and 3.3, as far as the library uses it: one update at a time, and whether it has room.
#pragma once
#include <Arduino.h>

#define UPDATE_ERROR_OK (0)
#define UPDATE_ERROR_WRITE (1)
#define UPDATE_ERROR_ERASE (2)
#define UPDATE_ERROR_READ (3)
#define UPDATE_ERROR_SPACE (4)
#define UPDATE_ERROR_SIZE (5)
#define UPDATE_ERROR_ACTIVATE (9)
#define UPDATE_ERROR_NO_PARTITION (10)
#define UPDATE_ERROR_ABORT (12)

#define U_FLASH 0

class UpdateClass {
 public:
  bool begin(size_t size = 0xFFFFFFFF, int command = U_FLASH, int ledPin = -1, uint8_t ledOn = LOW);
  void abort();
  uint8_t getError() { return _error; }
  bool hasError() { return _error != UPDATE_ERROR_OK; }
  bool isRunning() { return _size > 0; }

 private:
  void fail(uint8_t error);

  size_t _size = 0;
  uint8_t _error = UPDATE_ERROR_OK;
};

extern UpdateClass Update;
