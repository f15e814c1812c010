// Formatted output.
#include "Print.h"

size_t Print::write(const uint8_t *data, size_t size) {
  size_t written = 0;
  while (written < size && write(data[written])) ++written;
  return written;
}

size_t Print::vprintf(const char *format, va_list arguments) {
  char text[256];
  const int length = vsnprintf(text, sizeof text, format, arguments);
  return length < 0 ? 0 : write(text);
}

size_t Print::printf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const size_t written = vprintf(format, arguments);
  va_end(arguments);
  return written;
}

size_t Print::printf_P(PGM_P format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const size_t written = vprintf(format, arguments);
  va_end(arguments);
  return written;
}
