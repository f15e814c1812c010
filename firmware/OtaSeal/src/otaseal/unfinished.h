// A download that has come so far, and that outlives a restart where the chip has a safe place for it: the rest can be asked
// for. Nothing here is trusted: what is installed is hashed in flash as a whole, and has to be signed.
#pragma once

#include <stdint.h>

namespace otaseal {

struct Unfinished {
  char tag[104] = "";    // the strong ETag, as SHA-512 in base64 and what CDNs add; none: it cannot be gone on with
  uint8_t md5[16] = {};  // that the server announced, zeros for none
  uint32_t size = 0;     // bytes of the whole file
  uint32_t done = 0;     // of these there already
};

}  // namespace otaseal
