#include "buffers.h"

namespace otaseal {

// Beside its buffers a connection takes two contexts of BearSSL, the second stack, a few strings and the updater's
// sector: about 15 KB. The overheads are BearSSL's own for a record that comes and one that goes.
static constexpr uint32_t FIXED = 16 * 1024, RECEIVE_OVERHEAD = 325, SEND_OVERHEAD = 85;
static constexpr uint16_t WHOLE = 16384, SHORTEST = 512, LONGEST = 4096;

static bool fits(uint32_t receive, uint32_t send, uint32_t free, uint32_t largest) {
  return largest >= receive + RECEIVE_OVERHEAD && free >= FIXED + receive + RECEIVE_OVERHEAD + send + SEND_OVERHEAD;
}

Buffers planBuffers(bool fragments, uint32_t free, uint32_t largest) {
  if (!fragments) return fits(WHOLE, SHORTEST, free, largest) ? Buffers{WHOLE, SHORTEST} : Buffers{0, 0};
  for (uint16_t size = LONGEST; size >= SHORTEST; size /= 2) {
    if (fits(size, size, free, largest)) return {size, size};
  }
  return {0, 0};
}

}  // namespace otaseal
