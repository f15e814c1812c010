#include "address_map.h"

namespace otaseal {

static constexpr uint32_t CALL_REACH = 0x20000;  // words, to both sides
static constexpr uint32_t LOAD_REACH = 0x10000;  // words, back

void AddressMap::add(uint32_t start, uint32_t amount) {
  if (_count == 0) _first = start;
  const uint32_t left = UINT32_MAX - start;
  _span = start - _first + (left < BLOCK - 1 ? left : BLOCK - 1);
  _shifts[_count].start = start;
  _shifts[_count].amount = amount;
  _count++;
}

uint32_t AddressMap::find(uint32_t address) const {
  uint8_t low = 0, high = _count;
  if (high == 0) return 0;
  while (high - low > 1) {
    const uint8_t middle = static_cast<uint8_t>((low + high) / 2);
    if (_shifts[middle].start <= address) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return address - _shifts[low].start < BLOCK ? _shifts[low].amount : 0;
}

// Both have a distance in words to a multiple of 4 that lies ahead: a call one with a sign, a load one that is negative.
uint32_t AddressMap::aimed(uint32_t instruction, uint32_t from, uint32_t to) const {
  const bool call = (instruction & 15) == CALL;
  const uint32_t ahead = call ? 4 : 3, low = call ? 6 : 8;  // bytes; bits below the distance
  const int32_t words = call ? static_cast<int32_t>(instruction << 8) >> 14
                             : static_cast<int32_t>(instruction | 0xff000000) >> 8;
  const uint32_t target = ((from + ahead) & ~3u) + static_cast<uint32_t>(words) * 4;
  const int32_t far = static_cast<int32_t>(target + amount(target) - ((to + ahead) & ~3u)) >> 2;
  const uint32_t back = call ? CALL_REACH : LOAD_REACH, reach = call ? 2 * CALL_REACH : LOAD_REACH;
  if (static_cast<uint32_t>(far) + back >= reach) return instruction;
  return (instruction & ~(UINT32_MAX << low)) | (static_cast<uint32_t>(far) << low & 0xffffff);
}

}  // namespace otaseal
