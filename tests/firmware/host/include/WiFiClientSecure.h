// A TLS connection, on the BearSSL that Debian has: any name leads to this machine.
#pragma once
#include <CertStoreBearSSL.h>
#include <WiFiClient.h>

namespace BearSSL {

class WiFiClientSecure : public WiFiClient {
 public:
  struct Context;

  WiFiClientSecure();
  std::unique_ptr<WiFiClient> clone() const override;
  int connect(const char *host, uint16_t port) override;
  uint8_t connected() override;
  void stop() override;
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;
  int available() override;
  int read() override;
  int peek() override;
  size_t readBytes(char *buffer, size_t size) override;
  using Stream::readBytes;

  void setSession(Session *session);
  void setX509Time(time_t now);
  void setCertStore(CertStore *store);
  void setBufferSizes(int receive, int send);
  bool setSSLVersion(uint32_t least, uint32_t most);
  void setClientECCert(const X509List *chain, const PrivateKey *key, unsigned usages, unsigned issuer);
  void setClientRSACert(const X509List *chain, const PrivateKey *key);
  int getLastSSLError();
  static bool probeMaxFragmentLength(const char *host, uint16_t port, uint16_t length);

 private:
  bool fill();

  std::shared_ptr<Context> _context;
};

}  // namespace BearSSL
