// A patch on its way to the image that it makes of the running sketch (docs/delta-format.md), in one pass and without
// the heap. It trusts nothing of it: it reads nothing outside of the base, gives no more than it announces, and every
// step makes a byte. Whether the image is the right one is for its signature to say: the SHA-256 that the patch has of
// it would cost as much and protect from nothing else.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "address_map.h"
#include "instructions.h"
#include "patch_io.h"
#include "range_decoder.h"

namespace otaseal {

class PatchDecoder {  // 1.3 KB
 public:
  // Whether a file is a patch, by its first byte: no image begins so, a gzip with 0x1f, a UF2 is not sent.
  static bool isPatch(uint8_t first) { return first == 'O'; }

  explicit PatchDecoder(PatchIo &io);
  PatchDecoder(const PatchDecoder &) = delete;
  PatchDecoder &operator=(const PatchDecoder &) = delete;

  // Reads the header, and what is said of what has moved. `baseMd5`: 32 lower-case digits, as the core tells it.
  Error begin(uint32_t baseSize, const char *baseMd5);
  uint32_t imageSize() const { return _imageSize; }  // bytes of the signed image, once it has begun
  Error run();  // None: the whole image has come out, and nothing follows

 private:
  static constexpr uint32_t LARGEST = 1UL << 24;  // bytes of a base or an image
  static constexpr uint8_t HEADER = 68, RUNS = 3, PIECE = 64;
  // A unit begins in a piece, is decided by a word up to four or eight bytes behind it, and makes no more than these.
  static constexpr uint8_t WINDOW = PIECE + (Instructions::WIDTH > 4 ? 8 : 4);
  static_assert(WINDOW >= 2 * RangeDecoder::NUMBER && WINDOW >= HEADER, "it is used for other things before");
  enum Kind : uint8_t { Word, Call, Load, Kinds };

  struct Code {
    uint32_t start, end, address, moved;  // offsets in the base; where that runs it, and what to add in the image
  };
  struct Chances {
    uint8_t copied[RangeDecoder::NUMBER], same[RangeDecoder::NUMBER];
    uint8_t added[RangeDecoder::NUMBER], seek[RangeDecoder::NUMBER];
    uint8_t held[Kinds][2], difference[256], byte[256];
  };

  // Chances of the numbers that come before the first copy, where the window holds nothing yet.
  uint8_t *place() { return _window; }
  uint8_t *shift() { return _window + RangeDecoder::NUMBER; }

  Error header(uint32_t baseSize, const char *baseMd5);
  void readRuns();
  void readShifts(uint8_t count);
  void copy(uint32_t at);
  bool load(uint32_t at);
  uint32_t foretell(uint32_t at, uint32_t until);
  void aim(uint32_t at, uint8_t *bytes, uint32_t size);
  void settle(Kind kind, uint8_t *bytes, Instructions::Number expected, uint32_t size);
  void findRun(uint32_t at);
  uint32_t differing(uint32_t at);
  void insert(uint32_t size);
  void give(const uint8_t *data, uint32_t size);

  // In an order that spares code: what is nearest to the beginning is reached by the shortest instructions.
  RangeDecoder _coder;
  PatchIo &_io;
  uint32_t _baseSize = 0, _imageSize = 0;
  uint32_t _made = 0;          // bytes of the image that the steps so far make, this one's included
  uint32_t _end = 0;           // of this copy, in the base
  uint32_t _moved = 0;         // by how much its offset is larger in the image
  uint32_t _begin = 0;         // of the window, in the base
  const Code *_run = nullptr;  // in which it is
  uint32_t _runEnd = 0;        // up to where that holds
  uint8_t _runCount = 0;
  uint8_t _missed[Kinds];
  Chances _chances;
  Code _runs[RUNS];
  AddressMap _map;
  alignas(4) uint8_t _window[WINDOW];
};

}  // namespace otaseal
