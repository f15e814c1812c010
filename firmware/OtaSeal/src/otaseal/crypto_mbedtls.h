// Hashes, certificates and PEM by mbedTLS: 2.28 in core 2.0.17 of the ESP32, 3.6 in core 3.3.
#pragma once

#include <mbedtls/md.h>
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <utility>

namespace otaseal {

class Sha256 {
 public:
  static constexpr size_t SIZE = 32;

  Sha256() { begin(); }
  ~Sha256() { mbedtls_md_free(&_context); }
  Sha256(const Sha256 &) = delete;
  Sha256 &operator=(const Sha256 &) = delete;

  void add(const void *data, size_t size);
  bool finish(uint8_t *digest);  // false, and a digest of nothing: there was no memory, or the hardware failed

  static void of(const void *data, size_t size, uint8_t *digest);

 private:
  void begin();

  mbedtls_md_context_t _context;
  bool _good = false;
};

bool hmac(const void *key, const void *data, size_t size, uint8_t *mac);
int noise(void *, unsigned char *bytes, size_t size);  // chance, as mbedTLS asks for it; returns 0

// Text of one or more objects in PEM, which is all that the core's TLS client takes.
class PemText {
 public:
  static constexpr size_t LABELS = 60;  // bytes of DER whose text is as long as the two lines around an object

  static size_t room(size_t archive) { return archive / 3 * 4 + 8; }  // enough for all of an archive's certificates

  bool reserve(size_t size);  // bytes; false: not to be had
  bool add(const uint8_t *der, size_t size, const char *what = "CERTIFICATE");  // false: no room
  const char *text() const { return _text.get(); }
  std::unique_ptr<char[]> take() { return std::move(_text); }

 private:
  std::unique_ptr<char[]> _text;
  size_t _size = 0, _used = 0;
};

// Holds the certificate until it is whole, since mbedTLS parses no pieces. What is whole is added to `pem`, if there is one.
class CertificateDecoder {
 public:
  PemText *pem = nullptr;

  bool begin(uint32_t size);
  bool push(const uint8_t *data, uint32_t size);
  bool isWhole();
  uint32_t subject() const { return _subject; }  // bytes

 private:
  std::unique_ptr<uint8_t[]> _der;
  uint32_t _size = 0, _held = 0, _subject = 0;
};

}  // namespace otaseal
