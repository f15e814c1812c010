// Arduino's String: what is more than a line.
#include "WString.h"

#include <ctype.h>
#include <stdlib.h>

const String emptyString;

void String::assign(const char *text, size_t length) {
  char *copy = static_cast<char *>(malloc(length + 1));
  memcpy(copy, text, length);
  copy[length] = '\0';
  free(_text);
  _text = copy;
  _length = length;
}

String::~String() { free(_text); }

String &String::operator=(const String &other) {
  assign(other._text, other._length);
  return *this;
}

String::String(unsigned long value, unsigned char base) {
  char digits[65], *first = digits + sizeof digits;
  do {
    *--first = "0123456789abcdefghijklmnopqrstuvwxyz"[value % base];
    value /= base;
  } while (value);
  assign(first, digits + sizeof digits - first);
}
String::String(unsigned char value, unsigned char base) : String(static_cast<unsigned long>(value), base) {}
String::String(unsigned int value, unsigned char base) : String(static_cast<unsigned long>(value), base) {}
String::String(int value, unsigned char base) : String(static_cast<long>(value), base) {}
String::String(long value, unsigned char base) : String(value < 0 ? 0UL - value : static_cast<unsigned long>(value), base) {
  if (value < 0) *this = String('-') + *this;
}
String::String(float value, unsigned char decimals) : String(static_cast<double>(value), decimals) {}
String::String(double value, unsigned char decimals) {
  char text[400];
  assign(text, snprintf(text, sizeof text, "%.*f", decimals < 64 ? decimals : 64, value));
}

bool String::concat(const String &other) {
  const size_t before = _length, added = other._length;
  char *both = static_cast<char *>(realloc(_text, before + added + 1));
  memmove(both + before, &other == this ? both : other._text, added);
  both[before + added] = '\0';
  _text = both;
  _length = before + added;
  return true;
}

bool String::endsWith(const String &suffix) const {
  return _length >= suffix._length && strcmp(_text + _length - suffix._length, suffix._text) == 0;
}
int String::indexOf(char c, unsigned int from) const { return indexOf(String(c), from); }
int String::indexOf(const String &part, unsigned int from) const {
  const char *found = from < _length ? strstr(_text + from, part._text) : nullptr;
  return found ? static_cast<int>(found - _text) : -1;
}
String String::substring(unsigned int from, unsigned int to) const {
  if (to > _length) to = _length;
  return from < to ? String(_text + from, to - from) : String();
}
void String::toLowerCase() {
  for (size_t i = 0; i < _length; ++i) _text[i] = static_cast<char>(tolower(static_cast<unsigned char>(_text[i])));
}
void String::toUpperCase() {
  for (size_t i = 0; i < _length; ++i) _text[i] = static_cast<char>(toupper(static_cast<unsigned char>(_text[i])));
}
void String::trim() {
  size_t from = 0, to = _length;
  while (from < to && isspace(static_cast<unsigned char>(_text[from]))) ++from;
  while (to > from && isspace(static_cast<unsigned char>(_text[to - 1]))) --to;
  *this = substring(from, to);
}
long String::toInt() const { return strtol(_text, nullptr, 10); }
double String::toDouble() const { return strtod(_text, nullptr); }
