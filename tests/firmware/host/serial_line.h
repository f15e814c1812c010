// A serial line: a terminal of the host, or a socket. It loses nothing, but what comes while the sketch sleeps.
#pragma once
#include <Stream.h>

#include <string>

class SerialLine : public Stream {
 public:
  explicit SerialLine(int file) : _file(file) {}

  bool wait(int milliseconds);  // for bytes; false: none came, and none will
  void sleep();                 // until nothing more comes, and keep what a core keeps (F101)
  int available() override;
  int read() override;
  int peek() override { return -1; }
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;

 private:
  const int _file;
  std::string _kept;
};
