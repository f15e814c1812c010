// The TLS client of arduino-esp32, over mbedTLS: certificates are texts, which it does not copy, in PEM.
#pragma once
#include <WiFiClient.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

#include <memory>

struct sslclient_context {
  mbedtls_ssl_context ssl_ctx;
  mbedtls_ssl_config ssl_conf;
  mbedtls_ctr_drbg_context drbg_ctx;
  mbedtls_entropy_context entropy_ctx;
  mbedtls_x509_crt ca_cert, client_cert;
  mbedtls_pk_context client_key;
};

class WiFiClientSecure : public WiFiClient {
 public:
  struct Context;

  WiFiClientSecure();
  int connect(const char *host, uint16_t port) override { return connect(host, port, 0); }
  int connect(const char *host, uint16_t port, int32_t timeout);
  using WiFiClient::connect;
  uint8_t connected() override;
  void stop() override;
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;
  int available() override;
  int read() override;
  int read(uint8_t *buffer, size_t size) override;
  int peek() override;

  void setCACert(const char *pem);
  void setCertificate(const char *pem);
  void setPrivateKey(const char *pem);
  void setHandshakeTimeout(unsigned long) {}
  int lastError(char *text, size_t size);

 protected:
  sslclient_context *sslclient;

 private:
  std::shared_ptr<Context> _context;
};
