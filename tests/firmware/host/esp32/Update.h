// The updater of arduino-esp32 2.0.17 and 3.3: a slot is written as it comes, but for its first 16 bytes, which end() writes.
#pragma once
#include <Arduino.h>

#define UPDATE_ERROR_OK (0)
#define UPDATE_ERROR_WRITE (1)
#define UPDATE_ERROR_ERASE (2)
#define UPDATE_ERROR_READ (3)
#define UPDATE_ERROR_SPACE (4)
#define UPDATE_ERROR_SIZE (5)
#define UPDATE_ERROR_MAGIC_BYTE (8)
#define UPDATE_ERROR_ACTIVATE (9)
#define UPDATE_ERROR_NO_PARTITION (10)
#define UPDATE_ERROR_ABORT (12)

#define U_FLASH 0

class UpdateClass {
 public:
  bool begin(size_t size = 0xFFFFFFFF, int command = U_FLASH, int ledPin = -1, uint8_t ledOn = LOW);
  size_t write(uint8_t *data, size_t size);
  bool end(bool evenIfRemaining = false);
  void abort();
  uint8_t getError() { return _error; }
  bool hasError() { return _error != UPDATE_ERROR_OK; }
  bool isRunning() { return _size > 0; }
  bool isFinished() { return _progress == _size; }
  size_t remaining() { return _size - _progress; }

 private:
  static constexpr size_t SECTOR = 4096, FIRST = 16;

  void fail(uint8_t error);
  bool flush();

  size_t _size = 0, _progress = 0, _buffered = 0;
  uint8_t _error = UPDATE_ERROR_OK;
  uint8_t _buffer[SECTOR], _first[FIRST];
};

extern UpdateClass Update;
