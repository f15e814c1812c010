// A TLS connection: none is ever made.
#include "WiFiClientSecureBearSSL.h"

namespace BearSSL {

int WiFiClientSecure::connect(IPAddress, uint16_t) { return 0; }
int WiFiClientSecure::connect(const char *, uint16_t) { return 0; }
int WiFiClientSecure::connect(const String &, uint16_t) { return 0; }

struct WiFiClientSecure::Context {};
WiFiClientSecure::WiFiClientSecure() {}
WiFiClient *WiFiClientSecure::clone() const { return new WiFiClientSecure(*this); }
uint8_t WiFiClientSecure::connected() { return 0; }
void WiFiClientSecure::stop() {}
size_t WiFiClientSecure::write(const uint8_t *, size_t) { return 0; }
int WiFiClientSecure::available() { return 0; }
int WiFiClientSecure::read() { return -1; }
int WiFiClientSecure::peek() { return -1; }
size_t WiFiClientSecure::readBytes(char *, size_t) { return 0; }
void WiFiClientSecure::setSession(Session *) {}
void WiFiClientSecure::setX509Time(time_t) {}
void WiFiClientSecure::setClientRSACert(const X509List *, const PrivateKey *) {}
void WiFiClientSecure::setClientECCert(const X509List *, const PrivateKey *, unsigned, unsigned) {}
void WiFiClientSecure::setBufferSizes(int, int) {}
void WiFiClientSecure::setCertStore(CertStoreBase *) {}
bool WiFiClientSecure::setSSLVersion(uint32_t, uint32_t) { return true; }

int WiFiClientSecure::getLastSSLError(char *text, size_t size) {
  if (text && size) *text = '\0';
  return 0;
}

bool WiFiClientSecure::probeMaxFragmentLength(IPAddress, uint16_t, uint16_t) { return false; }
bool WiFiClientSecure::probeMaxFragmentLength(const char *, uint16_t, uint16_t) { return false; }
bool WiFiClientSecure::probeMaxFragmentLength(const String &, uint16_t, uint16_t) { return false; }

}  // namespace BearSSL
