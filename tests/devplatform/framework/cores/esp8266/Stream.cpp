// Bytes in and out: nothing waits, for nothing ever arrives on the host.
#include "Stream.h"

int Stream::read(uint8_t *buffer, size_t size) { return static_cast<int>(readBytes(buffer, size)); }

size_t Stream::readBytes(char *buffer, size_t size) {
  size_t count = 0;
  for (int byte; count < size && (byte = read()) >= 0;) buffer[count++] = static_cast<char>(byte);
  return count;
}

String Stream::readString() { return readStringUntil('\0'); }

String Stream::readStringUntil(char terminator) {
  String text;
  for (int byte; (byte = read()) >= 0 && byte != terminator;) text += static_cast<char>(byte);
  return text;
}

size_t Stream::readBytesUntil(char terminator, char *buffer, size_t size) {
  size_t count = 0;
  for (int byte; count < size && (byte = read()) >= 0 && byte != terminator;) buffer[count++] = static_cast<char>(byte);
  return count;
}

long Stream::parseInt() { return readString().toInt(); }
