// The serial ports: standard output on the host.
#pragma once
#include <Stream.h>

class HardwareSerial : public Stream {
 public:
  void begin(unsigned long) {}
  void end() {}
  void setDebugOutput(bool) {}
  int available() override { return 0; }
  int read() override { return -1; }
  int peek() override { return -1; }
  size_t write(uint8_t byte) override;
  using Print::write;
  operator bool() const { return true; }
};

extern HardwareSerial Serial;
extern HardwareSerial Serial1;
