// How long TLS records may be with the heap that is free. A record is a buffer: longer ones are a little faster, and on
// this chip the largest there are take a third of all memory.
#pragma once

#include <stdint.h>

namespace otaseal {

struct Buffers {
  uint16_t receive, send;  // bytes; 0 and 0: there is not enough heap for a connection
};

// `fragments`: the server agrees to shorter records than 16 KB; `largest`: the largest free block.
Buffers planBuffers(bool fragments, uint32_t free, uint32_t largest);

}  // namespace otaseal
