// What sketches and libraries call of BearSSL itself: declared as it has them, and on the host without any work.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define BR_KEYTYPE_RSA 1
#define BR_KEYTYPE_EC 2
#define BR_KEYTYPE_KEYX 0x10
#define BR_KEYTYPE_SIGN 0x20
#define BR_TLS10 0x0301
#define BR_TLS11 0x0302
#define BR_TLS12 0x0303
#define BR_EC_secp256r1 23
#define BR_ERR_X509_EXPIRED 54
#define BR_ERR_X509_BAD_SERVER_NAME 56
#define BR_ERR_X509_TRUNCATED 34
#define BR_ERR_X509_NOT_TRUSTED 62

typedef struct { unsigned char *n, *e; size_t nlen, elen; } br_rsa_public_key;
typedef struct { int curve; unsigned char *q; size_t qlen; } br_ec_public_key;
typedef struct { int curve; unsigned char *x; size_t xlen; } br_ec_private_key;
typedef struct { unsigned char key_type; union { br_rsa_public_key rsa; br_ec_public_key ec; } key; } br_x509_pkey;
typedef struct {
  br_x509_pkey pkey;
  uint32_t notbefore_days, notbefore_seconds, notafter_days, notafter_seconds;
} br_x509_decoder_context;
typedef struct { int unused; } br_hash_class, br_hmac_key_context, br_hmac_context;
typedef struct { size_t (*mulgen)(unsigned char *out, const unsigned char *x, size_t xlen, int curve); } br_ec_impl;
typedef size_t (*br_ecdsa_sign)(const br_ec_impl *curves, const br_hash_class *hash, const void *digest,
                                const br_ec_private_key *key, void *signature);
typedef struct { uint64_t count; } br_sha256_context;
typedef struct { uint64_t count; } br_md5_context;
#define br_md5_SIZE 16
typedef struct { unsigned char *data; size_t data_len; } br_x509_certificate;
typedef struct { int unused; } br_rsa_private_key, br_x509_minimal_context, br_ssl_session_parameters;

extern "C" {
extern const br_hash_class br_sha256_vtable;
void br_hmac_key_init(br_hmac_key_context *prepared, const br_hash_class *hash, const void *key, size_t size);
void br_hmac_init(br_hmac_context *context, const br_hmac_key_context *prepared, size_t size);
void br_hmac_update(br_hmac_context *context, const void *data, size_t size);
size_t br_hmac_out(const br_hmac_context *context, void *mac);
void br_sha256_init(br_sha256_context *context);
void br_sha256_update(br_sha256_context *context, const void *data, size_t size);
void br_sha256_out(const br_sha256_context *context, void *digest);
void br_md5_init(br_md5_context *context);
void br_md5_update(br_md5_context *context, const void *data, size_t size);
void br_md5_out(const br_md5_context *context, void *digest);
void br_x509_decoder_init(br_x509_decoder_context *context, void (*subject)(void *, const void *, size_t), void *,
                          void (*issuer)(void *, const void *, size_t), void *);
void br_x509_decoder_push(br_x509_decoder_context *context, const void *data, size_t size);
br_x509_pkey *br_x509_decoder_get_pkey(br_x509_decoder_context *context);
int br_x509_decoder_last_error(br_x509_decoder_context *context);
const br_ec_impl *br_ec_get_default(void);
br_ecdsa_sign br_ecdsa_sign_asn1_get_default(void);
}
