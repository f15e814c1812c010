#include "instructions.h"

namespace otaseal {

static constexpr uint32_t CALL_REACH = 0x20000;  // words, to both sides
static constexpr uint32_t LOAD_REACH = 0x10000;  // words, back
static constexpr uint32_t BL_REACH = 1UL << 24;  // bytes, to both sides

// Both have a distance in words to a multiple of 4 that lies ahead: a call one with a sign, a load one that is negative.
uint32_t Xtensa::aimed(const AddressMap &map, uint32_t instruction, uint32_t from, uint32_t to) {
  const bool call = isCall(instruction);
  const uint32_t ahead = call ? 4 : 3, low = call ? 6 : 8;  // bytes; bits below the distance
  const int32_t words = call ? static_cast<int32_t>(instruction << 8) >> 14
                             : static_cast<int32_t>(instruction | 0xff000000) >> 8;
  const uint32_t target = ((from + ahead) & ~3u) + static_cast<uint32_t>(words) * 4;
  const int32_t far = static_cast<int32_t>(target + map.amount(target) - ((to + ahead) & ~3u)) >> 2;
  const uint32_t back = call ? CALL_REACH : LOAD_REACH, reach = call ? 2 * CALL_REACH : LOAD_REACH;
  if (static_cast<uint32_t>(far) + back >= reach) return instruction;
  return (instruction & ~(UINT32_MAX << low)) | (static_cast<uint32_t>(far) << low & 0xffffff);
}

// The distance has a sign, two bits in the second half that are turned around where it is positive, and 21 bits.
uint32_t Thumb::aimed(const AddressMap &map, uint32_t instruction, uint32_t from, uint32_t to) {
  const uint32_t first = instruction & 0xffff, second = instruction >> 16, sign = first >> 10 & 1;
  const uint32_t two = ((second >> 12 & 2) | (second >> 11 & 1)) ^ (sign != 0 ? 0 : 3);
  const uint32_t distance = sign << 24 | two << 22 | (first & 0x3ff) << 12 | (second & 0x7ff) << 1;
  const uint32_t target = from + 4 + (distance ^ BL_REACH) - BL_REACH;
  const uint32_t far = target + map.amount(target) - to - 4;
  if (far + BL_REACH >= 2 * BL_REACH) return instruction;
  const uint32_t now = (far >> 22 & 3) ^ ((far >> 24 & 1) != 0 ? 0 : 3);
  return 0xf000 | (far >> 24 & 1) << 10 | (far >> 12 & 0x3ff) |
         ((second & 0xd000) | (now & 2) << 12 | (now & 1) << 11 | (far >> 1 & 0x7ff)) << 16;
}

}  // namespace otaseal
