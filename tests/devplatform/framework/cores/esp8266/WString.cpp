// Arduino's String: the parts that are more than a call to std::string.
#include "WString.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

const String emptyString;

static std::string digits(unsigned long value, unsigned char base) {
  std::string text;
  do {
    text.insert(text.begin(), "0123456789abcdefghijklmnopqrstuvwxyz"[value % base]);
    value /= base;
  } while (value);
  return text;
}

String::String(unsigned long value, unsigned char base) : _text(digits(value, base)) {}
String::String(unsigned char value, unsigned char base) : _text(digits(value, base)) {}
String::String(unsigned int value, unsigned char base) : _text(digits(value, base)) {}
String::String(int value, unsigned char base) : String(static_cast<long>(value), base) {}
String::String(long value, unsigned char base)
    : _text(value < 0 ? "-" + digits(0UL - value, base) : digits(value, base)) {}
String::String(float value, unsigned char decimals) : String(static_cast<double>(value), decimals) {}
String::String(double value, unsigned char decimals) {
  char text[64];
  snprintf(text, sizeof text, "%.*f", decimals, value);
  _text = text;
}

bool String::reserve(unsigned int size) { _text.reserve(size); return true; }
bool String::concat(const String &other) { _text += other._text; return true; }

bool String::equalsIgnoreCase(const String &other) const {
  String left(*this), right(other);
  left.toLowerCase();
  right.toLowerCase();
  return left == right;
}
bool String::startsWith(const String &prefix) const { return _text.compare(0, prefix.length(), prefix._text) == 0; }
bool String::endsWith(const String &suffix) const {
  return length() >= suffix.length() && _text.compare(length() - suffix.length(), suffix.length(), suffix._text) == 0;
}

int String::indexOf(char c, unsigned int from) const { return static_cast<int>(_text.find(c, from)); }
int String::indexOf(const String &part, unsigned int from) const { return static_cast<int>(_text.find(part._text, from)); }
String String::substring(unsigned int from, unsigned int to) const {
  String part;
  if (from < length() && from < to) part._text = _text.substr(from, to - from);
  return part;
}
void String::toLowerCase() { std::transform(_text.begin(), _text.end(), _text.begin(), ::tolower); }
void String::toUpperCase() { std::transform(_text.begin(), _text.end(), _text.begin(), ::toupper); }
void String::trim() {
  const char *space = " \t\r\n\v\f";
  _text.erase(0, _text.find_first_not_of(space));
  _text.erase(_text.find_last_not_of(space) + 1);
}
long String::toInt() const { return strtol(c_str(), nullptr, 10); }
double String::toDouble() const { return strtod(c_str(), nullptr); }
