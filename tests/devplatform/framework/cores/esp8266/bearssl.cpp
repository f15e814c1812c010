// BearSSL: nothing is hashed or signed, and no certificate is one.
#include <bearssl/bearssl.h>

#include <string.h>

extern "C" {
const br_hash_class br_sha256_vtable = {};
void br_hmac_key_init(br_hmac_key_context *, const br_hash_class *, const void *, size_t) {}
void br_hmac_init(br_hmac_context *, const br_hmac_key_context *, size_t) {}
void br_hmac_update(br_hmac_context *, const void *, size_t) {}
size_t br_hmac_out(const br_hmac_context *, void *mac) { return memset(mac, 0, 32) != nullptr ? 32 : 0; }
void br_sha256_init(br_sha256_context *context) { context->count = 0; }
void br_sha256_update(br_sha256_context *context, const void *, size_t size) { context->count += size; }
void br_sha256_out(const br_sha256_context *, void *digest) { memset(digest, 0, 32); }
void br_md5_init(br_md5_context *context) { context->count = 0; }
void br_md5_update(br_md5_context *context, const void *, size_t size) { context->count += size; }
void br_md5_out(const br_md5_context *, void *digest) { memset(digest, 0, br_md5_SIZE); }
void br_x509_decoder_init(br_x509_decoder_context *, void (*)(void *, const void *, size_t), void *,
                          void (*)(void *, const void *, size_t), void *) {}
void br_x509_decoder_push(br_x509_decoder_context *, const void *, size_t) {}
br_x509_pkey *br_x509_decoder_get_pkey(br_x509_decoder_context *) { return nullptr; }
int br_x509_decoder_last_error(br_x509_decoder_context *) { return BR_ERR_X509_TRUNCATED; }

static size_t mulgen(unsigned char *, const unsigned char *, size_t, int) { return 0; }
static size_t sign(const br_ec_impl *, const br_hash_class *, const void *, const br_ec_private_key *, void *) { return 0; }
const br_ec_impl *br_ec_get_default(void) {
  static const br_ec_impl curves = {mulgen};
  return &curves;
}
br_ecdsa_sign br_ecdsa_sign_asn1_get_default(void) { return sign; }
}
