#include "range_decoder.h"

namespace otaseal {

static constexpr uint8_t RATE = 4, START = 4;
static constexpr uint32_t TOP = 1UL << 24;

void RangeDecoder::fail(Error error) {
  if (failed()) return;
  _error = error;
  if (failed()) _left = 0;
}

// False: there are no more bytes.
bool RangeDecoder::fetch() {
  if (failed()) return false;
  const Error error = _io.patch(_data, _left);
  if (error != Error::None) fail(error);
  return _left > 0;
}

uint8_t RangeDecoder::byte() {
  if (_left == 0 && !fetch()) {
    fail(Error::Patch);
    return 0;
  }
  _left--;
  return *_data++;
}

void RangeDecoder::begin() {
  _range = 0xffffffff;
  for (uint8_t i = 0; i < START; i++) _code = _code << 8 | byte();
}

void RangeDecoder::end() {
  if (_code != 0 || _left > 0 || fetch()) fail(Error::Patch);
}

void RangeDecoder::shift() {
  if (_range >= TOP) return;
  _range <<= 8;
  _code = _code << 8 | byte();
}

uint32_t RangeDecoder::takeBit(uint8_t &chance, uint8_t rate) {
  const uint32_t bound = (_range >> 8) * chance;
  const bool one = _code >= bound;
  if (one) {
    _code -= bound;
    _range -= bound;
    chance = static_cast<uint8_t>(chance - (chance >> rate));
  } else {
    _range = bound;
    chance = static_cast<uint8_t>(chance + ((256 - chance) >> rate));
  }
  shift();
  return one;
}

uint32_t RangeDecoder::symbol(uint8_t *tree, uint8_t bits, uint8_t rate) {
  uint32_t node = 1;
  for (uint8_t i = 0; i < bits; i++) node = node << 1 | takeBit(tree[node], rate);
  return node - (1UL << bits);
}

uint32_t RangeDecoder::number(uint8_t *tree, uint32_t limit) {
  uint32_t value = 1;
  for (uint32_t bits = symbol(tree, CLASS_BITS, RATE); bits > 0; bits--) {
    _range >>= 1;
    const bool one = _code >= _range;
    if (one) _code -= _range;
    value = value << 1 | one;
    shift();
  }
  if (--value > limit) fail(Error::Patch);
  return failed() ? 0 : value;
}

uint32_t RangeDecoder::signedNumber(uint8_t *tree) {
  const uint32_t folded = number(tree);
  return folded & 1 ? ~(folded >> 1) : folded >> 1;
}

}  // namespace otaseal
