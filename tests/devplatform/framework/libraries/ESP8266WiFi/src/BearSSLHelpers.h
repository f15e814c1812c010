// Keys, certificates and the update verifier. Nothing is parsed, and the verifier accepts nothing.
#pragma once
#include <Arduino.h>
#include <bearssl/bearssl.h>


namespace BearSSL {

// Holds the key where the caller has it: the bytes stay in the program, as the real one's do.
class PublicKey {
 public:
  PublicKey() = default;
  PublicKey(const char *pem) { parse(pem); }
  PublicKey(const uint8_t *der, size_t size) { parse(der, size); }
  PublicKey(const PublicKey &) = delete;
  PublicKey &operator=(const PublicKey &) = delete;
  bool parse(const char *pem);
  bool parse(const uint8_t *der, size_t size);
  bool isRSA() const { return _size > 0; }
  bool isEC() const { return false; }
  const br_rsa_public_key *getRSA() const { return &_rsa; }

 private:
  br_rsa_public_key _rsa = {};
  const void *_key = nullptr;
  size_t _size = 0;
};

class PrivateKey {
 public:
  PrivateKey() = default;
  PrivateKey(const char *pem) { parse(pem); }
  PrivateKey(const uint8_t *der, size_t size) { parse(der, size); }
  PrivateKey(Stream &, size_t) {}
  PrivateKey(const PrivateKey &) = delete;
  PrivateKey &operator=(const PrivateKey &) = delete;
  bool parse(const char *pem);
  bool parse(const uint8_t *der, size_t size);
  bool isRSA() const { return false; }
  bool isEC() const { return false; }
};

class X509List {
 public:
  X509List() = default;
  X509List(const char *pem) { append(pem); }
  X509List(const uint8_t *der, size_t size) { append(der, size); }
  X509List(Stream &, size_t) {}
  X509List(const X509List &) = delete;
  X509List &operator=(const X509List &) = delete;
  bool append(const char *pem);
  bool append(const uint8_t *der, size_t size);
  size_t getCount() const { return _count; }

 private:
  size_t _count = 0;
};

class Session {};

class HashSHA256 : public UpdaterHashClass {
 public:
  void begin() override;
  void add(const void *data, uint32_t size) override;
  void end() override;
  int len() override;
  const void *hash() override;
  const unsigned char *oid() override;
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
