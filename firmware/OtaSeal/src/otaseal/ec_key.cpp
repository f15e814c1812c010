#include "ec_key.h"

#include <string.h>

#include "crypto.h"
#include "ec.h"
#include "files.h"
#include "port.h"

namespace otaseal {

static constexpr int WORDS = 32;  // of 32 bits: four times what a key has, should the radio bring less

// All of the file but its secret and its point; the numbers in it are lengths, and the curve's name.
static const uint8_t HEAD[] PROGMEM = {0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20};
static const uint8_t CURVE[] PROGMEM = {0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                        0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00};

bool EcKey::make() {
  static_assert(sizeof HEAD == SECRET_AT && SECRET_AT + SECRET + sizeof CURVE == POINT_AT, "they leave no gap");
  Sha256 hash;
  for (int i = 0; i < WORDS; i++) {
    const uint32_t word = port::random();
    hash.add(&word, sizeof word);
    delay(1);  // not faster than it comes
  }
  memcpy_P(_der, HEAD, sizeof HEAD);
  memcpy_P(_der + SECRET_AT + SECRET, CURVE, sizeof CURVE);
  hash.finish(_der + SECRET_AT);
  return p256(_der + SECRET_AT, nullptr, _der + POINT_AT);
}

// Of this size with this head is no other key: the curve's name decides how long it is.
bool EcKey::load(const char *path) {
  uint8_t head[sizeof HEAD];
  memcpy_P(head, HEAD, sizeof HEAD);
  return files::read(path, _der, SIZE) == SIZE && memcmp(_der, head, sizeof HEAD) == 0;
}

bool EcKey::save(const char *path) const { return files::replace(path, _der, SIZE); }

size_t EcKey::sign(const uint8_t *digest, uint8_t *signature) const {
  return p256(_der + SECRET_AT, digest, signature) ? 2u + signature[1] : 0;
}

}  // namespace otaseal
