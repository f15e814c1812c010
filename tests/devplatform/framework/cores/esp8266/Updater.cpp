// The updater: it refuses every update. With signing on, its constructor installs the verifier that ESP8266WiFi defines.
#include <Arduino.h>

#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#define ARDUINO_SIGNING 0
#endif

#if ARDUINO_SIGNING
namespace esp8266 {
extern UpdaterHashClass &updaterSigningHash;
extern UpdaterVerifyClass &updaterSigningVerifier;
}  // namespace esp8266
#endif

UpdaterClass::UpdaterClass() {
#if ARDUINO_SIGNING
  installSignature(&esp8266::updaterSigningHash, &esp8266::updaterSigningVerifier);
#endif
}

UpdaterClass::~UpdaterClass() {}

bool UpdaterClass::fail(uint8_t error) {
  _error = error;
  return false;
}

bool UpdaterClass::begin(size_t, int, int, uint8_t) { return fail(UPDATE_ERROR_SPACE); }
size_t UpdaterClass::write(uint8_t *, size_t) { return 0; }
size_t UpdaterClass::writeStream(Stream &, uint16_t) { return 0; }
bool UpdaterClass::end(bool) { return false; }
bool UpdaterClass::setMD5(const char *expected) { return strlen(expected) == 32; }
String UpdaterClass::getErrorString() const { return String("update error ") + String(_error); }
void UpdaterClass::printError(Print &out) { out.println(getErrorString()); }

UpdaterClass Update;
