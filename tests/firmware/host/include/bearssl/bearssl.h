// BearSSL as the core has it: its X.509 decoder hands out the issuer as well, which nothing here asks for.
#pragma once
#pragma GCC system_header  // for the next line
#include_next <bearssl/bearssl.h>

inline void br_x509_decoder_init(br_x509_decoder_context *decoder, void (*subject)(void *, const void *, size_t),
                                 void *context, void (*)(void *, const void *, size_t), void *) {
  br_x509_decoder_init(decoder, subject, context);
}
