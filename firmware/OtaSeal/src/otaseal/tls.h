// What the chips' TLS clients do differently, and nothing else. Both ports give the same names:
//
//   TlsClient       the core's class for one connection
//   Tls             what outlives a connection: certificates, and a session where there are sessions
//     load()        /certs.ar is in use from now on; false: there is no certificate in it
//     forget()      the next handshake is a whole one
//     identify(...) reads the device's own certificate and key; false: they cannot be read
//     dropIdentity() has none of the two from now on
//     look(dates)   tells until when the own certificate is valid; false: there is none
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "tls_esp32.h"
#else
#include "tls_bearssl.h"
#endif
