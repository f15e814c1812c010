// An IPv4 address.
#include "IPAddress.h"

const IPAddress INADDR_NONE(255, 255, 255, 255);

bool IPAddress::fromString(const char *text) {
  unsigned a, b, c, d;
  if (sscanf(text, "%3u.%3u.%3u.%3u", &a, &b, &c, &d) != 4 || (a | b | c | d) > 255) return false;
  *this = IPAddress(a, b, c, d);
  return true;
}

String IPAddress::toString() const {
  return String(_bytes[0]) + "." + String(_bytes[1]) + "." + String(_bytes[2]) + "." + String(_bytes[3]);
}
