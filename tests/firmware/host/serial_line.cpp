#include "serial_line.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool SerialLine::wait(int milliseconds) {
  pollfd one = {_file, POLLIN, 0};
  return poll(&one, 1, milliseconds) > 0 && available() > 0;
}

int SerialLine::available() {
  int count = 0;
  return ioctl(_file, FIONREAD, &count) == 0 ? count : 0;
}

// Waits as long as a sketch's stream does for the next byte.
int SerialLine::read() {
  unsigned char byte;
  pollfd one = {_file, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(getTimeout())) > 0 && ::read(_file, &byte, 1) == 1 ? byte : -1;
}

size_t SerialLine::write(const uint8_t *data, size_t size) {
  const ssize_t written = ::write(_file, data, size);
  return written > 0 ? static_cast<size_t>(written) : 0;
}
