// Keys, certificates and the update verifier.
#pragma once
#include <Arduino.h>
#include <bearssl/bearssl.h>

namespace BearSSL {

class PublicKey {
 public:
  PublicKey() = default;
  PublicKey(const char *pem) { parse(pem); }
  PublicKey(const uint8_t *der, size_t size) { parse(der, size); }
  PublicKey(const PublicKey &) = delete;
  PublicKey &operator=(const PublicKey &) = delete;
  bool parse(const char *pem);
  bool parse(const uint8_t *der, size_t size);
  bool isRSA() const;
  bool isEC() const { return false; }
  const br_rsa_public_key *getRSA() const;

 private:
  struct Parsed;
  Shared<Parsed> _parsed;
};

class PrivateKey {
 public:
  PrivateKey() = default;
  PrivateKey(const char *pem) { parse(pem); }
  PrivateKey(const uint8_t *der, size_t size) { parse(der, size); }
  PrivateKey(Stream &stream, size_t size);
  PrivateKey(const PrivateKey &) = delete;
  PrivateKey &operator=(const PrivateKey &) = delete;
  bool parse(const char *pem);
  bool parse(const uint8_t *der, size_t size);
  bool isRSA() const;
  bool isEC() const;
  const br_rsa_private_key *getRSA() const;
  const br_ec_private_key *getEC() const;

 private:
  struct Parsed;
  Shared<Parsed> _parsed;
};

class X509List {
 public:
  X509List() = default;
  X509List(const char *pem) { append(pem); }
  X509List(const uint8_t *der, size_t size) { append(der, size); }
  X509List(Stream &stream, size_t size);
  X509List(const X509List &) = delete;
  X509List &operator=(const X509List &) = delete;
  bool append(const char *pem);
  bool append(const uint8_t *der, size_t size);
  size_t getCount() const;
  const br_x509_certificate *getX509Certs() const;

 private:
  struct Parsed;
  Shared<Parsed> _parsed;
};

class Session {
 public:
  br_ssl_session_parameters *getSession() { return &_session; }

 private:
  br_ssl_session_parameters _session = {};
};

class HashSHA256 : public UpdaterHashClass {
 public:
  void begin() override;
  void add(const void *data, uint32_t size) override;
  void end() override;
  int len() override;
  const void *hash() override;
  const unsigned char *oid() override;

 private:
  br_sha256_context _context = {};
  unsigned char _digest[32] = {};
};

class SigningVerifier : public UpdaterVerifyClass {
 public:
  SigningVerifier(PublicKey *key) : _key(key) {}
  uint32_t length() override;
  bool verify(UpdaterHashClass *hash, const void *signature, uint32_t size) override;

 private:
  PublicKey *_key;
};

}  // namespace BearSSL
