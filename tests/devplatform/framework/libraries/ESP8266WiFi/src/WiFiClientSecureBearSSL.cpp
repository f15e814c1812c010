// A TLS connection: none is ever made on the host.
#include "WiFiClientSecureBearSSL.h"

namespace BearSSL {

int WiFiClientSecure::connect(IPAddress, uint16_t) { return 0; }
int WiFiClientSecure::connect(const char *, uint16_t) { return 0; }
int WiFiClientSecure::connect(const String &, uint16_t) { return 0; }

int WiFiClientSecure::getLastSSLError(char *text, size_t size) {
  if (text && size) *text = '\0';
  return 0;
}

bool WiFiClientSecure::probeMaxFragmentLength(IPAddress, uint16_t, uint16_t) { return false; }
bool WiFiClientSecure::probeMaxFragmentLength(const char *, uint16_t, uint16_t) { return false; }
bool WiFiClientSecure::probeMaxFragmentLength(const String &, uint16_t, uint16_t) { return false; }

}  // namespace BearSSL
