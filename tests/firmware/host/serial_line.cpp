#include "serial_line.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static constexpr size_t KEPT = 256;  // bytes
static constexpr int QUIET_MS = 100;

bool SerialLine::wait(int milliseconds) {
  pollfd one = {_file, POLLIN, 0};
  return poll(&one, 1, milliseconds) > 0 && available() > 0;
}

void SerialLine::sleep() {
  char bytes[KEPT];
  pollfd one = {_file, POLLIN, 0};
  ssize_t size = 1;
  while (size > 0 && poll(&one, 1, QUIET_MS) > 0) {
    size = ::read(_file, bytes, KEPT);
    if (size > 0) _kept.append(bytes, static_cast<size_t>(size));
    if (_kept.size() > KEPT) _kept.erase(0, _kept.size() - KEPT);
  }
}

int SerialLine::available() {
  int count = 0;
  if (ioctl(_file, FIONREAD, &count) != 0) count = 0;
  return count + static_cast<int>(_kept.size());
}

// Waits as long as a sketch's stream does for the next byte.
int SerialLine::read() {
  unsigned char byte;
  if (!_kept.empty()) {
    byte = static_cast<unsigned char>(_kept[0]);
    _kept.erase(0, 1);
    return byte;
  }
  pollfd one = {_file, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(getTimeout())) > 0 && ::read(_file, &byte, 1) == 1 ? byte : -1;
}

size_t SerialLine::write(const uint8_t *data, size_t size) {
  const ssize_t written = ::write(_file, data, size);
  return written > 0 ? static_cast<size_t>(written) : 0;
}
