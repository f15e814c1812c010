// BearSSL as the core has it: its X.509 decoder hands out the issuer as well, which nothing here asks for.
#pragma once

#include <bearssl/bearssl_pem.h>
#include <bearssl/bearssl_ssl.h>

inline void br_x509_decoder_init(br_x509_decoder_context *decoder, void (*subject)(void *, const void *, size_t),
                                 void *context, void (*)(void *, const void *, size_t), void *) {
  br_x509_decoder_init(decoder, subject, context);
}
