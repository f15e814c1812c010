// One signature: RSA PKCS#1 v1.5 over SHA-256, by the library that the chip's core has for TLS. Both ports give the same:
//
//   signatureLength(pem)                     bytes that signatures of this public key have; 0: none, or another kind
//   isSigned(pem, digest, signature, size)   whether that key has signed what the digest is of
#pragma once

#include "updater.h"

namespace otaseal {

#if defined(ARDUINO_ARCH_ESP32)

uint32_t signatureLength(const char *pem);
bool isSigned(const char *pem, UpdateDigest &digest, const void *signature, uint32_t size);

#else

inline uint32_t signatureLength(const char *pem) {
  if (pem == nullptr) return 0;
  const BearSSL::PublicKey key(pem);
  return key.isRSA() ? key.getRSA()->nlen : 0;
}

inline bool isSigned(const char *pem, UpdateDigest &digest, const void *signature, uint32_t size) {
  if (pem == nullptr) return false;
  BearSSL::PublicKey key(pem);
  if (!key.isRSA()) return false;
  BearSSL::SigningVerifier verifier(&key);  // refuses a signature of another length than the key's
  return verifier.verify(&digest, signature, size);
}

#endif

}  // namespace otaseal
