// Hashes and certificates by BearSSL.
#pragma once

#include <bearssl/bearssl.h>

namespace otaseal {

class Sha256 {
 public:
  static constexpr size_t SIZE = 32;

  Sha256() { br_sha256_init(&_context); }
  void add(const void *data, size_t size) { br_sha256_update(&_context, data, size); }
  void finish(uint8_t *digest) { br_sha256_out(&_context, digest); }

  static __attribute__((noinline)) void of(const void *data, size_t size, uint8_t *digest) {
    Sha256 hash;
    hash.add(data, size);
    hash.finish(digest);
  }

 private:
  br_sha256_context _context;
};

inline bool hmac(const void *key, const void *data, size_t size, uint8_t *mac) {
  br_hmac_key_context prepared;
  br_hmac_context context;
  br_hmac_key_init(&prepared, &br_sha256_vtable, key, Sha256::SIZE);
  br_hmac_init(&context, &prepared, Sha256::SIZE);
  br_hmac_update(&context, data, size);
  br_hmac_out(&context, mac);
  return true;
}

class CertificateDecoder {
 public:
  bool begin(uint32_t) {
    _subject = 0;
    br_x509_decoder_init(&_decoder, countSubject, this, nullptr, nullptr);
    return true;
  }

  // The decoder must not be called again once it has failed: it would run on from where it stopped.
  bool push(const uint8_t *data, uint32_t size) {
    br_x509_decoder_push(&_decoder, data, size);
    const int error = br_x509_decoder_last_error(&_decoder);
    return error == 0 || error == BR_ERR_X509_TRUNCATED;  // TRUNCATED: it waits for more
  }

  bool isWhole() { return br_x509_decoder_get_pkey(&_decoder) != nullptr; }
  uint32_t subject() const { return _subject; }  // bytes

 private:
  static void countSubject(void *context, const void *, size_t size) {
    static_cast<CertificateDecoder *>(context)->_subject += static_cast<uint32_t>(size);
  }

  br_x509_decoder_context _decoder;
  uint32_t _subject = 0;
};

}  // namespace otaseal
