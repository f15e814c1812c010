// How the updaters of both cores read a download: they wait for 60 seconds, and call back after every read.
#include <Arduino.h>

UpdaterClass::UpdaterClass() {}
UpdaterClass::~UpdaterClass() {}

bool UpdaterClass::fail(uint8_t error) {
  _error = error;
  _size = 0;
  return false;
}

size_t UpdaterClass::writeStream(Stream &data, uint16_t timeout) {
  uint8_t buffer[4096];
  uint32_t since = millis();
  while (_written < _size) {
    const size_t left = _size - _written;
    const size_t got = data.readBytes(buffer, left < sizeof buffer ? left : sizeof buffer);
    if (got > 0) {
      since = millis();
      if (!write(buffer, got)) return 0;
    } else if (millis() - since > timeout) {
      fail(UPDATE_ERROR_STREAM);
      return 0;
    } else {
      delay(100);
    }
    if (_progress) _progress(_written, _size);
  }
  return _size != 0 ? _written : 0;  // 0: ended by the callback
}
