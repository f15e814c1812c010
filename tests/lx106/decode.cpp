// The library's decoder of patches on the emulated CPU: base and patch lie in memory, and so does what comes out.
#include <string.h>

#include "../../firmware/OtaSeal/src/otaseal/patch.h"

using otaseal::Error;

namespace {

struct Memory : otaseal::PatchIo {
  Error patch(const uint8_t *&data, size_t &size) override {
    data = next;
    size = left < PIECE ? left : PIECE;
    next += size;
    left -= size;
    return Error::None;
  }

  bool base(uint32_t offset, void *buffer, size_t size) override {
    memcpy(buffer, sketch + offset, size);
    return true;
  }

  Error image(const uint8_t *data, size_t size) override {
    if (size > room - made) return Error::Space;
    memcpy(to + made, data, size);
    made += size;
    return Error::None;
  }

  static constexpr size_t PIECE = 256;  // bytes, as they come out of a connection
  const uint8_t *sketch, *next;
  size_t left, room, made = 0;
  uint8_t *to;
};

}  // namespace

extern "C" {

void __cxa_pure_virtual() {
  for (;;) {
  }
}

size_t patch_decoder_size() { return sizeof(otaseal::PatchDecoder); }

// Returns the library's error; `made` gets the bytes of the image in `to`, of which there are `room`.
int decode_patch(const unsigned char *sketch, size_t sketch_size, const char *md5, const unsigned char *patch,
                 size_t patch_size, unsigned char *to, size_t room, size_t *made) {
  Memory memory;
  memory.sketch = sketch;
  memory.next = patch;
  memory.left = patch_size;
  memory.to = to;
  memory.room = room;
  otaseal::PatchDecoder decoder(memory);
  Error error = decoder.begin(static_cast<uint32_t>(sketch_size), md5);
  if (error == Error::None) error = decoder.run();
  *made = memory.made;
  return static_cast<int>(error);
}
}
