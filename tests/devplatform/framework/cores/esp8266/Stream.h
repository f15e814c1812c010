// Bytes in and out.
#pragma once
#include <Print.h>
#include <sys/types.h>

class Stream : public Print {
 public:
  virtual int available() = 0;
  virtual int read() = 0;
  virtual int peek() = 0;
  virtual int read(uint8_t *buffer, size_t size);
  virtual size_t readBytes(char *buffer, size_t size);
  virtual size_t readBytes(uint8_t *buffer, size_t size) { return readBytes(reinterpret_cast<char *>(buffer), size); }
  virtual String readString();
  String readStringUntil(char terminator);
  size_t readBytesUntil(char terminator, char *buffer, size_t size);
  long parseInt();
  void setTimeout(unsigned long milliseconds) { _timeout = milliseconds; }
  unsigned long getTimeout() const { return _timeout; }

 protected:
  unsigned long _timeout = 1000;
};
