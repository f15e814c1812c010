// An IPv4 address.
#pragma once
#include <Print.h>

class IPAddress : public Printable {
 public:
  IPAddress() = default;
  IPAddress(uint8_t a, uint8_t b, uint8_t c, uint8_t d) : _bytes{a, b, c, d} {}
  IPAddress(uint32_t address) { memcpy(_bytes, &address, sizeof _bytes); }
  bool fromString(const char *text);
  bool fromString(const String &text) { return fromString(text.c_str()); }
  String toString() const;
  size_t printTo(Print &out) const override { return out.print(toString()); }
  bool isSet() const { return v4() != 0; }
  uint32_t v4() const { uint32_t address; memcpy(&address, _bytes, sizeof address); return address; }
  operator uint32_t() const { return v4(); }
  uint8_t operator[](int index) const { return _bytes[index]; }
  uint8_t &operator[](int index) { return _bytes[index]; }

 private:
  uint8_t _bytes[4] = {};
};

extern const IPAddress INADDR_NONE;
