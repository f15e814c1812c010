// Formatted output: everything ends in write().
#pragma once
#include <Printable.h>
#include <WString.h>
#include <stdarg.h>

#define DEC 10
#define HEX 16
#define OCT 8
#define BIN 2

class Print {
 public:
  virtual ~Print() = default;
  virtual size_t write(uint8_t byte) = 0;
  virtual size_t write(const uint8_t *data, size_t size);
  size_t write(const char *text) { return write(text, strlen(text)); }
  size_t write(const char *data, size_t size) { return write(reinterpret_cast<const uint8_t *>(data), size); }
  virtual int availableForWrite() { return 0; }
  virtual void flush() {}

  size_t printf(const char *format, ...) __attribute__((format(printf, 2, 3)));
  size_t printf_P(PGM_P format, ...) __attribute__((format(printf, 2, 3)));

  size_t print(const __FlashStringHelper *text) { return write(reinterpret_cast<const char *>(text)); }
  size_t print(const String &text) { return write(text.c_str(), text.length()); }
  size_t print(const char *text) { return write(text); }
  size_t print(char c) { return write(static_cast<uint8_t>(c)); }
  size_t print(unsigned char value, int base = DEC) { return print(String(value, base)); }
  size_t print(int value, int base = DEC) { return print(String(value, base)); }
  size_t print(unsigned int value, int base = DEC) { return print(String(value, base)); }
  size_t print(long value, int base = DEC) { return print(String(value, base)); }
  size_t print(unsigned long value, int base = DEC) { return print(String(value, base)); }
  size_t print(double value, int decimals = 2) { return print(String(value, decimals)); }
  size_t print(const Printable &value) { return value.printTo(*this); }

  size_t println() { return write("\r\n"); }
  template <typename... T>
  size_t println(const T &...value) { return print(value...) + println(); }

 private:
  size_t vprintf(const char *format, va_list arguments);
};
