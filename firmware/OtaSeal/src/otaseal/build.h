// What the build says of itself: keys, identity and the earliest time that can be. All of it is in flash, none in RAM.
#pragma once

#include <stdint.h>

namespace otaseal {

struct Build {
  const uint8_t *identity;  // PROGMEM: the 64 bytes of a manifest under the magic OtaSealI
  const char *version;      // PROGMEM: what the device calls itself when it asks
  const char *key;          // PROGMEM: the public key whose signatures are accepted, PEM
  const char *nextKey;      // PROGMEM: the other key that is accepted, or nullptr
  uint32_t time;            // Unix seconds: this firmware was built at that time or later
};

// The one in OtaSealBuild.h.
const Build &build();

}  // namespace otaseal
