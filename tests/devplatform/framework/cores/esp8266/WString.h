// Arduino's String, over std::string.
#pragma once
#include <pgmspace.h>
#include <string>

class __FlashStringHelper;
#define FPSTR(p) (reinterpret_cast<const __FlashStringHelper *>(p))
#define F(s) (FPSTR(PSTR(s)))

class String {
 public:
  String() = default;
  String(const char *text) : _text(text ? text : "") {}
  String(const char *text, size_t length) : _text(text, length) {}
  String(const __FlashStringHelper *text) : String(reinterpret_cast<const char *>(text)) {}
  explicit String(char c) : _text(1, c) {}
  explicit String(unsigned char value, unsigned char base = 10);
  explicit String(int value, unsigned char base = 10);
  explicit String(unsigned int value, unsigned char base = 10);
  explicit String(long value, unsigned char base = 10);
  explicit String(unsigned long value, unsigned char base = 10);
  explicit String(float value, unsigned char decimals = 2);
  explicit String(double value, unsigned char decimals = 2);

  bool reserve(unsigned int size);
  void clear() { _text.clear(); }
  unsigned int length() const { return _text.length(); }
  bool isEmpty() const { return _text.empty(); }
  const char *c_str() const { return _text.c_str(); }
  const char *begin() const { return c_str(); }
  const char *end() const { return c_str() + length(); }
  explicit operator bool() const { return true; }

  bool concat(const String &other);
  template <typename T>
  String &operator+=(const T &value) { concat(String(value)); return *this; }
  friend String operator+(String left, const String &right) { left.concat(right); return left; }

  bool equals(const String &other) const { return _text == other._text; }
  bool equalsIgnoreCase(const String &other) const;
  friend bool operator==(const String &left, const String &right) { return left._text == right._text; }
  friend bool operator!=(const String &left, const String &right) { return left._text != right._text; }
  friend bool operator<(const String &left, const String &right) { return left._text < right._text; }
  bool startsWith(const String &prefix) const;
  bool endsWith(const String &suffix) const;

  char charAt(unsigned int index) const { return index < length() ? _text[index] : 0; }
  char operator[](unsigned int index) const { return charAt(index); }
  char &operator[](unsigned int index) { return _text[index]; }
  int indexOf(char c, unsigned int from = 0) const;
  int indexOf(const String &part, unsigned int from = 0) const;
  String substring(unsigned int from) const { return substring(from, length()); }
  String substring(unsigned int from, unsigned int to) const;
  void toLowerCase();
  void toUpperCase();
  void trim();
  long toInt() const;
  double toDouble() const;

 private:
  std::string _text;
};

extern const String emptyString;
