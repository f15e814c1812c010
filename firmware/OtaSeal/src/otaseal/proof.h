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
constexpr size_t PROOF = NAME + 1 + 10 + 1 + 32 + 1 + 2 * HASH;  // characters of the header's value, at most

extern const char *capabilities;  // of this build: the version of the format, and words

void deviceName(char *text);                               // NAME digits and a zero
char *hex(const uint8_t *bytes, size_t size, char *text);  // lower-case digits and a zero; returns where the zero stands

// The secret is in LittleFS on the ESP8266 and the Pico, where uploadfs erases it, and in NVS on the ESP32.
void loadSecret();                              // makes one where there is none
bool proofKey(const char *name, uint8_t *key);  // HASH bytes; false: there is no secret that a restart leaves, so no key

// Of the next request: the clock in Unix seconds, or more, for no two have the same one.
uint32_t nextSequence(uint32_t now);

// Writes the value of the header that proves `said`, which ends with the sequence, and returns whether there is one.
// `withKey`: for a server that does not know the key.
bool prove(const char *said, const char *name, bool withKey, char *value);

// What the server says of a proof, by its first letter: that the key is unknown, or wrong, or after which sequence this one
// has to go on. Of a good one it says nothing, and neither does a server that knows of none. Returns whether it wants the
// key.
bool takeVerdict(const char *verdict);

}  // namespace otaseal
