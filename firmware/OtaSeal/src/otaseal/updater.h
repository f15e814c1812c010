// What the core's updater asks, whether an update may be installed: its hash, and its verifier. On the ESP32 no core's
// updater asks, so there the port has the same three itself, and asks in its place.
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "updater_esp32.h"
#else

#include <BearSSLHelpers.h>
#include <Updater.h>

namespace otaseal {

using UpdateHash = BearSSL::HashSHA256;
using UpdateDigest = UpdaterHashClass;
using UpdateVerifier = UpdaterVerifyClass;

inline void installInUpdater(UpdateDigest *hash, UpdateVerifier *verifier) { Update.installSignature(hash, verifier); }

}  // namespace otaseal

#endif
