#include "address_map.h"

namespace otaseal {

static constexpr int32_t CALL_REACH = 0x20000;       // words, to both sides
static constexpr int32_t LOAD_REACH = 0x10000;       // words, all of them before the load
static constexpr uint32_t LOAD_BYTES = 4 * LOAD_REACH;

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

static int32_t words(uint32_t distance) { return static_cast<int32_t>(distance) >> 2; }

uint32_t AddressMap::aimed(uint32_t instruction, uint32_t from, uint32_t to) const {
  if ((instruction & 15) == CALL) {
    const uint32_t target = (from & ~3u) + 4 + static_cast<uint32_t>(words(instruction << 8) >> 12) * 4;
    const int32_t far = words(target + amount(target) - (to & ~3u) - 4);
    if (far < -CALL_REACH || far >= CALL_REACH) return instruction;
    return (instruction & 0x3f) | (static_cast<uint32_t>(far) << 6 & 0xffffc0);
  }
  const uint32_t target = ((from + 3) & ~3u) + (instruction >> 8) * 4 - LOAD_BYTES;
  const int32_t far = words(target + amount(target) - ((to + 3) & ~3u) + LOAD_BYTES);
  if (far < 0 || far >= LOAD_REACH) return instruction;
  return (instruction & 0xff) | static_cast<uint32_t>(far) << 8;
}

}  // namespace otaseal
