#include "buffers.h"

namespace otaseal {

// Beside its buffers a connection takes two contexts of BearSSL, the second stack, a few strings and the updater's
// sector: about 15 KB. The overheads are BearSSL's own for a record that comes and one that goes.
static constexpr uint32_t FIXED = 16 * 1024, RECEIVE_OVERHEAD = 325, SEND_OVERHEAD = 85;
static constexpr uint16_t WHOLE = 16384, SHORTEST = 512, LONGEST = 4096;

Buffers planBuffers(bool fragments, uint32_t free, bool (*oneBlock)(uint32_t size)) {
  Buffers tried = {LONGEST, LONGEST};  // and halves of it; whole records have no second try
  if (!fragments) tried = {WHOLE, SHORTEST};
  for (; tried.receive >= SHORTEST; tried.receive = tried.send = tried.send / 2) {
    const uint32_t received = tried.receive + RECEIVE_OVERHEAD, sent = tried.send + SEND_OVERHEAD;
    if (free >= FIXED + received + sent && oneBlock(received)) return tried;
  }
  return {0, 0};
}

}  // namespace otaseal
