// The key of the device's own certificate, on P-256: made on the chip, and never read out of it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace otaseal {

// Holds it as it lies in /client.key: SEC1 in DER (RFC 5915), which all TLS clients here read.
class EcKey {
 public:
  static constexpr size_t POINT = 65;      // bytes of the public key, not compressed
  static constexpr size_t SIGNATURE = 72;  // bytes of a signature in DER, at most
  static constexpr size_t SIZE = 121;      // bytes of the file

  // Makes a new one by chance. false: not enough memory.
  bool make();
  // Reads what save() has written; false: there is none, or something else.
  bool load(const char *path);
  bool save(const char *path) const;

  const uint8_t *point() const { return _der + POINT_AT; }
  // Signs a SHA-256 and returns how many bytes of DER that is; 0: not enough memory.
  size_t sign(const uint8_t *digest, uint8_t *signature) const;

 private:
  static constexpr size_t SECRET_AT = 7, SECRET = 32, POINT_AT = SIZE - POINT;

  uint8_t _der[SIZE];
};

}  // namespace otaseal
