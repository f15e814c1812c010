#include "csr.h"

#include <libb64/cencode.h>
#include <pgmspace.h>
#include <string.h>

#include "crypto.h"

namespace otaseal {

static constexpr size_t COMMON_NAME = NAME + NAME / 2 - 1;  // bytes

// Everything but name, point and signature has one length, so the request is these pieces and what stands between them:
// version and common name; algorithm and curve of the key; no attributes, and ecdsa-with-SHA256.
static const uint8_t BEGIN[] PROGMEM = {0x30, 0x7e, 0x02, 0x01, 0x00, 0x30, 0x1c, 0x31, 0x1a,
                                        0x30, 0x18, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, COMMON_NAME};
static const uint8_t KEY[] PROGMEM = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                                      0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
static const uint8_t END[] PROGMEM = {0xa0, 0x00, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x03};

size_t makeCsr(const EcKey &key, const char *name, uint8_t *der) {
  constexpr size_t OUTER = 3, NAME_AT = OUTER + sizeof BEGIN, KEY_AT = NAME_AT + COMMON_NAME;
  constexpr size_t POINT_AT = KEY_AT + sizeof KEY, END_AT = POINT_AT + EcKey::POINT, BITS_AT = END_AT + sizeof END;
  static_assert(END_AT + 2 - OUTER == 128 && BITS_AT + 2 + EcKey::SIGNATURE == CSR_LIMIT, "the lengths in the pieces");
  uint8_t digest[Sha256::SIZE];
  memcpy_P(der + OUTER, BEGIN, sizeof BEGIN);
  uint8_t *at = der + NAME_AT;
  for (size_t i = 0; i < NAME; i++) {
    if (i > 0 && i % 2 == 0) *at++ = ':';
    *at++ = static_cast<uint8_t>(name[i] >= 'a' ? name[i] - 'a' + 'A' : name[i]);
  }
  memcpy_P(der + KEY_AT, KEY, sizeof KEY);
  memcpy(der + POINT_AT, key.point(), EcKey::POINT);
  memcpy_P(der + END_AT, END, sizeof END);
  Sha256::of(der + OUTER, 128, digest);
  const size_t signature = key.sign(digest, der + BITS_AT + 2);
  der[BITS_AT] = static_cast<uint8_t>(1 + signature);
  der[BITS_AT + 1] = 0;  // no unused bits
  der[0] = 0x30;
  der[1] = 0x81;
  der[2] = static_cast<uint8_t>(BITS_AT + 2 - OUTER + signature);
  return signature == 0 ? 0 : BITS_AT + 2 + signature;
}

void encodeBase64(const uint8_t *data, size_t size, char *text) {
  for (size_t at = 0; at < size; at += 3) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; i++) bits = bits << 8 | (at + i < size ? data[at + i] : 0);
    for (size_t i = 0; i < 4; i++, bits <<= 6) {
      *text++ = at + i > size ? '=' : base64_encode_value(static_cast<char>(bits >> 18 & 63));
    }
  }
  *text = 0;
}

size_t decodeBase64(char *text) {
  uint8_t *out = reinterpret_cast<uint8_t *>(text);
  uint32_t bits = 0;
  size_t digits = 0, size = 0;
  for (; *text != 0 && *text != '='; text++, digits++) {
    uint32_t value = 0;
    while (value < 64 && base64_encode_value(static_cast<char>(value)) != *text) value++;
    if (value == 64) return 0;
    bits = bits << 6 | value;
    if (digits % 4 != 0) out[size++] = static_cast<uint8_t>(bits >> (6 - 2 * (digits % 4)));
  }
  return digits % 4 == 1 ? 0 : size;
}

}  // namespace otaseal
