// How long TLS records may be with the heap that is free. A record is a buffer: longer ones are a little faster, and on
// this chip the largest there are take a third of all memory.
#pragma once

#include <stdint.h>

namespace otaseal {

struct Buffers {
  uint16_t receive, send;  // bytes; 0 and 0: there is not enough heap for a connection
};

// `fragments`: the server agrees to shorter records than 16 KB; `free`: bytes of heap; `oneBlock`: whether that many bytes
// can be had in one piece.
Buffers planBuffers(bool fragments, uint32_t free, bool (*oneBlock)(uint32_t size));

}  // namespace otaseal
