// A TLS connection: none is ever made on the host.
#pragma once
#include "BearSSLHelpers.h"
#include "CertStoreBearSSL.h"
#include "WiFiClient.h"

namespace BearSSL {

class WiFiClientSecure : public WiFiClient {
 public:
  int connect(IPAddress address, uint16_t port) override;
  int connect(const char *host, uint16_t port) override;
  int connect(const String &host, uint16_t port) override;

  void setSession(Session *) {}
  void setInsecure() {}
  void setKnownKey(const PublicKey *, unsigned = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN) {}
  bool setFingerprint(const uint8_t[20]) { return true; }
  bool setFingerprint(const char *) { return true; }
  void allowSelfSignedCerts() {}
  void setTrustAnchors(const X509List *) {}
  void setX509Time(time_t) {}
  void setClientRSACert(const X509List *, const PrivateKey *) {}
  void setClientECCert(const X509List *, const PrivateKey *, unsigned, unsigned) {}
  void setBufferSizes(int, int) {}
  int getMFLNStatus() { return 0; }
  int getLastSSLError(char *text = nullptr, size_t size = 0);
  void setCertStore(CertStoreBase *) {}
  bool setCiphers(const uint16_t *, int) { return true; }
  bool setCiphersLessSecure() { return true; }
  bool setSSLVersion(uint32_t = BR_TLS10, uint32_t = BR_TLS12) { return true; }

  static bool probeMaxFragmentLength(IPAddress address, uint16_t port, uint16_t length);
  static bool probeMaxFragmentLength(const char *host, uint16_t port, uint16_t length);
  static bool probeMaxFragmentLength(const String &host, uint16_t port, uint16_t length);
};

}  // namespace BearSSL
