// What enrolment needs of the library that the chip's core has in it for TLS anyway: arithmetic on P-256, and a look into
// a certificate.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace otaseal {

// Writes the signature (ECDSA, DER) of a SHA-256 with this secret of 32 bytes, or, without a digest, the secret's public key
// (65 bytes). Returns false if the secret is no key, or there is not enough memory.
bool p256(const uint8_t *secret, const uint8_t *digest, uint8_t *out);

// A certificate's dates, in Unix seconds; what 32 bits do not hold is their end.
struct Validity {
  uint32_t from, to;
};

// Reads a certificate in DER (by mbedTLS also one in PEM, with the zero at its end). Returns false if it is none, or, with a public key, if it is for another one.
bool readCertificate(const uint8_t *der, size_t size, const uint8_t *point, Validity &validity);

}  // namespace otaseal
