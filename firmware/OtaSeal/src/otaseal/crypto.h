// Hashes and certificates, by the library that the chip's core has in it anyway. Both ports give the same names:
//
//   Sha256              SHA-256 of what is added
//   hmac()              HMAC-SHA256 of data by a key of 32 bytes; false: there was no memory
//   CertificateDecoder  is shown one certificate in DER; tells whether it is one, with a key that the core can use
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "crypto_mbedtls.h"
#else
#include "crypto_bearssl.h"
#endif
