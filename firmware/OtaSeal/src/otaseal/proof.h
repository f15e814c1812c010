// What makes a device known again: a random secret that it has made itself, a key made of that and of its name, and a MAC
// by that key over what a request says. Whoever copies the flash to another chip copies the secret, and no key: there the
// name is another one.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

namespace otaseal {

constexpr size_t NAME = 12;            // lower-case hex digits of the station's MAC address
constexpr size_t HASH = Sha256::SIZE;  // bytes

extern const char *capabilities;  // of this build: the version of the format, and words

// Both write a zero behind the digits; hex() returns where it stands.
char *hex(const uint8_t *bytes, size_t size, char *text);
void deviceName(char *text);

// The secret is in LittleFS on the ESP8266 and the Pico, where uploadfs erases it, and in NVS on the ESP32.
void loadSecret();                              // makes one where there is none
bool proofKey(const char *name, uint8_t *key);  // HASH bytes; false: there is no secret that a restart leaves, so no key

}  // namespace otaseal
