// What a patch is read from, and what it makes: connection, running sketch and updater, as the decoder asks for them.
// Nothing else that it calls waits.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "errors.h"

namespace otaseal {

class PatchIo {
 public:
  // The next bytes of the patch, which stay where they are until the next call; `size` 0: there are no more. Any error
  // here or in image() ends the decoding, which returns it.
  virtual Error patch(const uint8_t *&data, size_t &size) = 0;
  // Bytes of the base, which is the running sketch; offset and buffer are multiples of 4. False: flash cannot be read.
  virtual bool base(uint32_t offset, void *buffer, size_t size) = 0;
  // The next bytes of the image, in pieces that fit a window of the decoder.
  virtual Error image(const uint8_t *data, size_t size) = 0;

 protected:
  ~PatchIo() = default;
};

}  // namespace otaseal
