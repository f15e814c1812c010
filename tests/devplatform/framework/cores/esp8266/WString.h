// Arduino's String. (Over a buffer of its own: <string> would double compile times.)
#pragma once
#include <pgmspace.h>

class __FlashStringHelper;
#define FPSTR(p) (reinterpret_cast<const __FlashStringHelper *>(p))
#define F(s) (FPSTR(PSTR(s)))

class String {
 public:
  String(const char *text = "") { assign(text ? text : "", text ? strlen(text) : 0); }
  String(const char *text, size_t length) { assign(text, length); }
  String(const __FlashStringHelper *text) : String(reinterpret_cast<const char *>(text)) {}
  String(const String &other) { assign(other._text, other._length); }
  explicit String(char c) { assign(&c, 1); }
  explicit String(unsigned char value, unsigned char base = 10);
  explicit String(int value, unsigned char base = 10);
  explicit String(unsigned int value, unsigned char base = 10);
  explicit String(long value, unsigned char base = 10);
  explicit String(unsigned long value, unsigned char base = 10);
  explicit String(float value, unsigned char decimals = 2);
  explicit String(double value, unsigned char decimals = 2);
  ~String();
  String &operator=(const String &other);

  bool reserve(unsigned int) { return true; }
  void clear() { *this = String(); }
  unsigned int length() const { return _length; }
  bool isEmpty() const { return _length == 0; }
  const char *c_str() const { return _text; }
  const char *begin() const { return _text; }
  const char *end() const { return _text + _length; }
  explicit operator bool() const { return true; }

  bool concat(const String &other);
  template <typename T>
  String &operator+=(const T &value) { concat(String(value)); return *this; }
  friend String operator+(const String &left, const String &right) { String sum(left); sum.concat(right); return sum; }

  bool equals(const String &other) const { return strcmp(_text, other._text) == 0; }
  bool equalsIgnoreCase(const String &other) const { return strcasecmp(_text, other._text) == 0; }
  friend bool operator==(const String &left, const String &right) { return left.equals(right); }
  friend bool operator!=(const String &left, const String &right) { return !left.equals(right); }
  friend bool operator<(const String &left, const String &right) { return strcmp(left._text, right._text) < 0; }
  bool startsWith(const String &prefix) const { return strncmp(_text, prefix._text, prefix._length) == 0; }
  bool endsWith(const String &suffix) const;

  char charAt(unsigned int index) const { return index < _length ? _text[index] : 0; }
  char operator[](unsigned int index) const { return charAt(index); }
  char &operator[](unsigned int index) { return _text[index]; }
  int indexOf(char c, unsigned int from = 0) const;
  int indexOf(const String &part, unsigned int from = 0) const;
  String substring(unsigned int from) const { return substring(from, _length); }
  String substring(unsigned int from, unsigned int to) const;
  void toLowerCase();
  void toUpperCase();
  void trim();
  long toInt() const;
  double toDouble() const;

 private:
  void assign(const char *text, size_t length);

  char *_text = nullptr;
  size_t _length = 0;
};

extern const String emptyString;
