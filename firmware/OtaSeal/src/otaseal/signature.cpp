#if defined(ARDUINO_ARCH_ESP32)

#include "signature.h"

#include <mbedtls/pk.h>
#include <string.h>

namespace otaseal {
namespace {

// A public key of RSA; length() is 0 for anything else.
class PublicKey {
 public:
  explicit PublicKey(const char *pem) {
    mbedtls_pk_init(&_key);
    const auto *text = reinterpret_cast<const unsigned char *>(pem);
    _good = pem != nullptr && mbedtls_pk_parse_public_key(&_key, text, strlen(pem) + 1) == 0 &&
            mbedtls_pk_get_type(&_key) == MBEDTLS_PK_RSA;
  }
  ~PublicKey() { mbedtls_pk_free(&_key); }
  PublicKey(const PublicKey &) = delete;
  PublicKey &operator=(const PublicKey &) = delete;

  size_t length() const { return _good ? (mbedtls_pk_get_bitlen(&_key) + 7) / 8 : 0; }

  bool verify(const void *hash, const void *signature, size_t size) {
    return _good && size == length() &&
           mbedtls_pk_verify(&_key, MBEDTLS_MD_SHA256, static_cast<const unsigned char *>(hash), Sha256::SIZE,
                             static_cast<const unsigned char *>(signature), size) == 0;
  }

 private:
  mbedtls_pk_context _key;
  bool _good;
};

}  // namespace

uint32_t signatureLength(const char *pem) { return static_cast<uint32_t>(PublicKey(pem).length()); }

bool isSigned(const char *pem, UpdateDigest &digest, const void *signature, uint32_t size) {
  return digest.isWhole() && PublicKey(pem).verify(digest.hash(), signature, size);
}

}  // namespace otaseal

#endif
