// Hashes and certificates, by the library that the chip's core has in it anyway. Both ports give the same names:
//
//   Sha256              SHA-256 of what is added
//   CertificateDecoder  is shown one certificate in DER; tells whether it is one, with a key that the core can use
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "crypto_mbedtls.h"
#else
#include "crypto_bearssl.h"
#endif
