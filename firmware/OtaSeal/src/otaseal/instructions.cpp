#include "instructions.h"

namespace otaseal {

static constexpr uint32_t CALL_REACH = 0x20000;  // words, to both sides
static constexpr uint32_t LOAD_REACH = 0x10000;  // words, back
static constexpr uint32_t BL_REACH = 1UL << 24;  // bytes, to both sides
static constexpr uint32_t JUMP_REACH = 1UL << 20;

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

#if defined(__riscv)  // not for others, which would pay for a third call of amount(): it is in line for two

// The distance of a JAL has its bits in the order 20, 10 to 1, 11, 19 to 12. Of the others the lower one has a sign.
RiscV::Number RiscV::aimed(const AddressMap &map, Number instruction, uint32_t from, uint32_t to) {
  const uint32_t first = static_cast<uint32_t>(instruction), second = static_cast<uint32_t>(instruction >> 32);
  const bool near = (first & 0x7f) == JUMP;
  const uint32_t distance = near ? (first >> 11 & JUMP_REACH) | (first & 0xff000) | (first >> 9 & 0x800) | (first >> 20 & 0x7fe)
                                 : (first & 0xfffff000) + ((second >> 20) ^ 0x800) - 0x800;
  const uint32_t target = from + (near ? (distance ^ JUMP_REACH) - JUMP_REACH : distance);
  const uint32_t far = target + map.amount(target) - to;
  if (!near) return static_cast<Number>((second & 0xfffff) | far << 20) << 32 | ((far + 0x800) & 0xfffff000) | (first & 0xfff);
  if (far + JUMP_REACH >= 2 * JUMP_REACH) return instruction;
  return (far >> 20 & 1) << 31 | (far >> 1 & 0x3ff) << 21 | (far >> 11 & 1) << 20 | (far & 0xff000) | (first & 0xfff);
}

#endif

}  // namespace otaseal
