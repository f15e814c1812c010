#if !defined(ARDUINO_ARCH_ESP32)

#include "ec.h"

#include <StackThunk.h>
#include <bearssl/bearssl.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <new>

// A signature takes more stack than a sketch has, so all of it runs on the core's second one, as its TLS does.
extern "C" bool otaseal_p256(const uint8_t *secret, const uint8_t *digest, uint8_t *out) {
  const br_ec_private_key key = {BR_EC_secp256r1, const_cast<uint8_t *>(secret), 32};  // which BearSSL only reads
  const br_ec_impl *curves = br_ec_get_default();
  if (digest == nullptr) return curves->mulgen(out, key.x, key.xlen, key.curve) != 0;
  return br_ecdsa_sign_asn1_get_default()(curves, &br_sha256_vtable, digest, &key, out) != 0;
}

#if defined(ARDUINO_ARCH_ESP8266)
extern "C" bool thunk_otaseal_p256(const uint8_t *secret, const uint8_t *digest, uint8_t *out);
make_stack_thunk(otaseal_p256)
#else
make_stack_thunk_bool(otaseal_p256, (const uint8_t *secret, const uint8_t *digest, uint8_t *out), (secret, digest, out))
#endif

namespace otaseal {

static constexpr size_t SECOND_STACK = 6400;  // bytes; without them the core stops the sketch

bool p256(const uint8_t *secret, const uint8_t *digest, uint8_t *out) {
  void *volatile room = malloc(SECOND_STACK);
  free(room);
  if (room == nullptr) return false;
  stack_thunk_add_ref();
  const bool done = thunk_otaseal_p256(secret, digest, out);
  stack_thunk_del_ref();
  return done;
}

// BearSSL counts from the year 0.
static __attribute__((noinline)) uint32_t unixTime(uint32_t days, uint32_t seconds) {
  constexpr uint32_t EPOCH = 719528, LAST = UINT32_MAX / 86400;
  if (days < EPOCH) return 0;
  return days - EPOCH < LAST ? (days - EPOCH) * 86400 + seconds : UINT32_MAX;
}

bool readCertificate(const uint8_t *der, size_t size, const uint8_t *point, Validity &validity) {
  std::unique_ptr<br_x509_decoder_context> decoder(new (std::nothrow) br_x509_decoder_context);
  if (decoder == nullptr) return false;
  br_x509_decoder_init(decoder.get(), nullptr, nullptr, nullptr, nullptr);
  br_x509_decoder_push(decoder.get(), der, size);
  const br_x509_pkey *key = br_x509_decoder_get_pkey(decoder.get());
  if (key == nullptr) return false;
  validity.from = unixTime(decoder->notbefore_days, decoder->notbefore_seconds);
  validity.to = unixTime(decoder->notafter_days, decoder->notafter_seconds);
  return point == nullptr || (key->key_type == BR_KEYTYPE_EC && key->key.ec.curve == BR_EC_secp256r1 &&
                              memcmp(key->key.ec.q, point, key->key.ec.qlen) == 0);
}

}  // namespace otaseal

#endif
