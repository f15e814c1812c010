// A TLS connection.
#pragma once
#include "BearSSLHelpers.h"
#include "CertStoreBearSSL.h"
#include "WiFiClient.h"

namespace BearSSL {

class WiFiClientSecure : public WiFiClient {
 public:
  struct Context;

  WiFiClientSecure();
  WiFiClient *clone() const override;
  int connect(IPAddress address, uint16_t port) override;
  int connect(const char *host, uint16_t port) override;
  int connect(const String &host, uint16_t port) override;
  uint8_t connected() override;
  void stop() override;
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;
  int available() override;
  int read() override;
  int read(uint8_t *buffer, size_t size) override {
    return available() > 0 ? static_cast<int>(readBytes(reinterpret_cast<char *>(buffer), size < 512 ? size : 512)) : -1;
  }
  int peek() override;
  size_t readBytes(char *buffer, size_t size) override;
  using Stream::readBytes;

  void setSession(Session *session);
  void setInsecure() {}
  void setKnownKey(const PublicKey *, unsigned = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN) {}
  bool setFingerprint(const uint8_t[20]) { return true; }
  bool setFingerprint(const char *) { return true; }
  void allowSelfSignedCerts() {}
  void setTrustAnchors(const X509List *) {}
  void setX509Time(time_t now);
  void setClientRSACert(const X509List *chain, const PrivateKey *key);
  void setClientECCert(const X509List *chain, const PrivateKey *key, unsigned usages, unsigned issuer);
  void setBufferSizes(int receive, int send);
  int getMFLNStatus() { return 0; }
  int getLastSSLError(char *text = nullptr, size_t size = 0);
  void setCertStore(CertStoreBase *store);
  bool setCiphers(const uint16_t *, int) { return true; }
  bool setCiphersLessSecure() { return true; }
  bool setSSLVersion(uint32_t least = BR_TLS10, uint32_t most = BR_TLS12);

  static bool probeMaxFragmentLength(IPAddress address, uint16_t port, uint16_t length);
  static bool probeMaxFragmentLength(const char *host, uint16_t port, uint16_t length);
  static bool probeMaxFragmentLength(const String &host, uint16_t port, uint16_t length);

 private:
  bool fill();

  Shared<Context> _context;
};

}  // namespace BearSSL
