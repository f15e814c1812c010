// A serial line: a terminal of the host, or a socket. It loses nothing, as a chip would that is busy (F101).
#pragma once
#include <Stream.h>

class SerialLine : public Stream {
 public:
  explicit SerialLine(int file) : _file(file) {}

  bool wait(int milliseconds);  // for bytes; false: none came, and none will
  int available() override;
  int read() override;
  int peek() override { return -1; }
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;

 private:
  const int _file;
};
