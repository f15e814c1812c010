// The coded bits of a patch (docs/delta-format.md): LZMA's range coder with chances of 8 bits. After the first error it
// reads no more, and what it returns means nothing.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "patch_io.h"

namespace otaseal {

class RangeDecoder {
 public:
  static constexpr uint8_t HALF = 128;               // a chance, in 256ths of a 0, before its first bit
  static constexpr uint8_t CLASS_BITS = 5;           // of a number: how many bits follow its highest one
  static constexpr size_t NUMBER = 1 << CLASS_BITS;  // chances for numbers of one kind

  explicit RangeDecoder(PatchIo &io) : _io(io) {}

  uint8_t byte();  // the next one of the patch as it is: of what stands before the coded bits
  void begin();
  uint32_t takeBit(uint8_t &chance, uint8_t rate);  // bit() is a macro of Arduino.h
  uint32_t symbol(uint8_t *tree, uint8_t bits, uint8_t rate);
  uint32_t number(uint8_t *tree, uint32_t limit = UINT32_MAX);  // an error, and 0, where it is more
  uint32_t signedNumber(uint8_t *tree);                         // in two's complement
  void end();                                                   // an error where the patch does not end here

  void fail(Error error);  // the first one stays, None is none
  Error error() const { return _error; }
  bool failed() const { return _error != Error::None; }

 private:
  bool fetch();
  void shift();

  PatchIo &_io;
  const uint8_t *_data = nullptr;
  size_t _left = 0;
  uint32_t _range = 0;
  uint32_t _code = 0;
  Error _error = Error::None;
};

}  // namespace otaseal
