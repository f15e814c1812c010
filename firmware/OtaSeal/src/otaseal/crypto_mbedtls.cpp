#if defined(ARDUINO_ARCH_ESP32)

#include "crypto_mbedtls.h"

#include <esp_random.h>
#include <mbedtls/base64.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <string.h>

#include <new>

namespace otaseal {

int noise(void *, unsigned char *bytes, size_t size) {
  esp_fill_random(bytes, size);
  return 0;
}

void Sha256::begin() {
  mbedtls_md_init(&_context);
  _good = mbedtls_md_setup(&_context, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 0) == 0 &&
          mbedtls_md_starts(&_context) == 0;
}

void Sha256::add(const void *data, size_t size) {
  _good = _good && mbedtls_md_update(&_context, static_cast<const unsigned char *>(data), size) == 0;
}

bool Sha256::finish(uint8_t *digest) {
  _good = _good && mbedtls_md_finish(&_context, digest) == 0;
  if (!_good) memset(digest, 0, SIZE);
  return _good;
}

void Sha256::of(const void *data, size_t size, uint8_t *digest) {
  Sha256 hash;
  hash.add(data, size);
  hash.finish(digest);
}

bool hmac(const void *key, const void *data, size_t size, uint8_t *mac) {
  return mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), static_cast<const unsigned char *>(key), Sha256::SIZE,
                         static_cast<const unsigned char *>(data), size, mac) == 0;
}

bool PemText::reserve(size_t size) {
  _text.reset(new (std::nothrow) char[size]);
  _size = _text != nullptr ? size : 0;
  _used = 0;
  if (_size > 0) _text[0] = 0;
  return _size > 0;
}

bool PemText::add(const uint8_t *der, size_t size, const char *what) {
  char begin[40], end[40];
  const size_t begins = static_cast<size_t>(snprintf(begin, sizeof begin, "-----BEGIN %s-----\n", what));
  const size_t ends = static_cast<size_t>(snprintf(end, sizeof end, "\n-----END %s-----\n", what));
  if (_size - _used < begins + ends + 1) return false;
  const size_t room = _size - _used - begins - ends;  // with the zero that the encoder adds
  unsigned char *at = reinterpret_cast<unsigned char *>(_text.get()) + _used + begins;
  size_t written = 0;
  if (mbedtls_base64_encode(at, room, &written, der, size) != 0) return false;
  memcpy(_text.get() + _used, begin, begins);
  memcpy(at + written, end, ends + 1);
  _used += begins + written + ends;
  return true;
}

bool CertificateDecoder::begin(uint32_t size) {
  _der.reset(new (std::nothrow) uint8_t[size]);
  _size = _der != nullptr ? size : 0;
  _held = _subject = 0;
  return _size > 0;
}

bool CertificateDecoder::push(const uint8_t *data, uint32_t size) {
  if (size > _size - _held) return false;
  memcpy(_der.get() + _held, data, size);
  _held += size;
  return true;
}

bool CertificateDecoder::isWhole() {
  mbedtls_x509_crt certificate;
  mbedtls_x509_crt_init(&certificate);
  bool whole = _held == _size && mbedtls_x509_crt_parse_der(&certificate, _der.get(), _held) == 0;
  _subject = static_cast<uint32_t>(certificate.subject_raw.len);
  mbedtls_x509_crt_free(&certificate);
  if (whole && pem != nullptr) whole = pem->add(_der.get(), _held);
  _der.reset();
  return whole;
}

}  // namespace otaseal

#endif
