// SHA-256 of BearSSL, which every sketch with TLS has in it anyway.
#pragma once

#include <bearssl/bearssl.h>

namespace otaseal {

class Sha256 {
 public:
  static constexpr size_t SIZE = 32;

  Sha256() { br_sha256_init(&_context); }
  void add(const void *data, size_t size) { br_sha256_update(&_context, data, size); }
  void finish(uint8_t *digest) { br_sha256_out(&_context, digest); }

  static void of(const void *data, size_t size, uint8_t *digest) {
    Sha256 hash;
    hash.add(data, size);
    hash.finish(digest);
  }

 private:
  br_sha256_context _context;
};

}  // namespace otaseal
