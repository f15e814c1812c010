// The updater. With signing on, its constructor installs the verifier that the library WiFi defines.
#include "Updater.h"

#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#define ARDUINO_SIGNING 0
#endif

#if ARDUINO_SIGNING
namespace esp8266 {  // its name on this core, too
extern UpdaterHashClass &updaterSigningHash;
extern UpdaterVerifyClass &updaterSigningVerifier;
}  // namespace esp8266
#endif

UpdaterClass::UpdaterClass() {
#if ARDUINO_SIGNING
  installSignature(&esp8266::updaterSigningHash, &esp8266::updaterSigningVerifier);
#endif
}

UpdaterClass Update;
