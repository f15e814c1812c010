// Keys and certificates of BearSSL, as the core wraps them.
#pragma once
#include <Arduino.h>
#include <Updater.h>
#include <bearssl/bearssl.h>

#include <string>
#include <vector>

namespace BearSSL {

using Bytes = std::vector<unsigned char>;

class PublicKey {
 public:
  explicit PublicKey(const char *pem);
  bool isRSA() const { return !_n.empty(); }
  const br_rsa_public_key *getRSA() const { return &_key; }

 private:
  Bytes _n, _e;
  br_rsa_public_key _key = {};
};

class PrivateKey {
 public:
  PrivateKey(Stream &stream, size_t size);
  bool isRSA() const { return br_skey_decoder_key_type(&_decoder) == BR_KEYTYPE_RSA; }
  bool isEC() const { return br_skey_decoder_key_type(&_decoder) == BR_KEYTYPE_EC; }
  const br_rsa_private_key *getRSA() const { return br_skey_decoder_get_rsa(&_decoder); }
  const br_ec_private_key *getEC() const { return br_skey_decoder_get_ec(&_decoder); }

 private:
  br_skey_decoder_context _decoder;
};

class X509List {
 public:
  X509List() = default;
  X509List(Stream &stream, size_t size);
  size_t getCount() const { return _certificates.size(); }
  const br_x509_certificate *getX509Certs() const { return _certificates.data(); }

 private:
  std::vector<Bytes> _data;
  std::vector<br_x509_certificate> _certificates;
};

class Session {
 public:
  br_ssl_session_parameters parameters = {};
};

class HashSHA256 : public UpdaterHashClass {
 public:
  void begin() override;
  void add(const void *data, uint32_t size) override;
  void end() override;
  int len() override { return sizeof _digest; }
  const void *hash() override { return _digest; }
  const unsigned char *oid() override { return BR_HASH_OID_SHA256; }

 private:
  br_sha256_context _context;
  unsigned char _digest[32];
};

class SigningVerifier : public UpdaterVerifyClass {
 public:
  explicit SigningVerifier(PublicKey *key) : _key(key) {}
  uint32_t length() override;
  bool verify(UpdaterHashClass *hash, const void *signature, uint32_t size) override;

 private:
  PublicKey *_key;
};

}  // namespace BearSSL
