// The update verifier that the library Updater installs when signing is on. It accepts nothing.
#include <Updater.h>
#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#define ARDUINO_SIGNING 0
#endif

#include "WiFi.h"

int WiFiClient::connect(const char *, uint16_t) { return 0; }

#if ARDUINO_SIGNING
namespace {
struct Hash : UpdaterHashClass {
  const void *hash() override { return nullptr; }
};
const char *volatile key = signing_pubkey;  // its bytes stay in the program, as the real one's do
struct Verifier : UpdaterVerifyClass {
  uint32_t length() override { return strlen(key) ? 256 : 0; }
  bool verify(UpdaterHashClass *, const void *, uint32_t) override { return false; }
};
Hash signing_hash;
Verifier signing_verifier;
}  // namespace

namespace esp8266 {
UpdaterHashClass &updaterSigningHash = signing_hash;
UpdaterVerifyClass &updaterSigningVerifier = signing_verifier;
}  // namespace esp8266
#endif
