// Instructions with a distance in them, which changes when code moves (docs/delta-format.md): one class for each set that a
// patch can name, of which a chip needs its own alone. Arithmetic with addresses is modulo 2**32.
#pragma once

#include <stdint.h>

#include "address_map.h"

namespace otaseal {

// CALL0, 4, 8, 12 and L32R, by the low four bits of their first byte.
struct Xtensa {
  using Number = uint32_t;
  static constexpr uint8_t NUMBER = 0;  // in the header of a patch
  static constexpr uint8_t WIDTH = 3;   // bytes of the longest one with a distance
  static constexpr uint8_t CALL = 5, LOAD = 1;

  static const char *words() { return " patch1"; }  // by which a device says that it takes them
  static bool begins(uint32_t) { return true; }     // whether one can, at that offset
  static uint32_t size(const uint8_t *bytes) { return (bytes[0] & 15) - 8u < 6 ? 2 : 3; }
  static bool hasDistance(const uint8_t *bytes) { return (bytes[0] & 15) == CALL || (bytes[0] & 15) == LOAD; }
  static bool isCall(uint32_t instruction) { return (instruction & 15) == CALL; }
  static uint32_t read(const uint8_t *bytes) { return bytes[0] | bytes[1] << 8 | static_cast<uint32_t>(bytes[2]) << 16; }
  // What an instruction at the address `from` becomes at the address `to`; as it is where that is too far.
  static Number aimed(const AddressMap &map, Number instruction, uint32_t from, uint32_t to);
};

// BL: all else that has a distance stays within its function.
struct Thumb {
  using Number = uint32_t;
  static constexpr uint8_t NUMBER = 1, WIDTH = 4;

  static const char *words() { return Xtensa::words(); }
  static bool begins(uint32_t at) { return (at & 1) == 0; }
  static uint32_t size(const uint8_t *bytes) { return bytes[1] >> 3 < 0x1d ? 2 : 4; }
  static bool hasDistance(const uint8_t *bytes) { return bytes[1] >> 3 == 0x1e && (bytes[3] & 0xd0) == 0xd0; }
  static bool isCall(uint32_t) { return true; }
  // Byte by byte: a Cortex-M0+ reads no word that is not aligned.
  static uint32_t read(const uint8_t *bytes) { return Xtensa::read(bytes) | static_cast<uint32_t>(bytes[3]) << 24; }
  static Number aimed(const AddressMap &map, Number instruction, uint32_t from, uint32_t to);
};

// JAL, and AUIPC with the JALR behind it, which is as one instruction of eight bytes.
struct RiscV {
  using Number = uint64_t;
  static constexpr uint8_t NUMBER = 2, WIDTH = 8;
  static constexpr uint32_t JUMP = 0x6f, FAR = 0x17, FAR_JUMP = 0x67;

  static const char *words() { return " patch1 riscv"; }  // "riscv" stands in no firmware that has Xtensa's on RISC-V
  static bool begins(uint32_t at) { return (at & 1) == 0; }
  static uint32_t size(const uint8_t *bytes) { return (bytes[0] & 3) != 3 ? 2 : isFar(bytes) ? 8 : 4; }
  static bool hasDistance(const uint8_t *bytes) { return (bytes[0] & 0x7f) == JUMP || isFar(bytes); }
  static bool isCall(Number) { return true; }
  static Number read(const uint8_t *bytes) {
    return Thumb::read(bytes) | (isFar(bytes) ? static_cast<Number>(Thumb::read(bytes + 4)) << 32 : 0);
  }
  static Number aimed(const AddressMap &map, Number instruction, uint32_t from, uint32_t to);

 private:
  static bool isFar(const uint8_t *bytes) {
    const uint32_t next = Thumb::read(bytes + 4);
    return (bytes[0] & 0x7f) == FAR && (next & 0x707f) == FAR_JUMP && (next >> 15 & 31) == (Thumb::read(bytes) >> 7 & 31);
  }
};

#if defined(ARDUINO_ARCH_RP2040)
using Instructions = Thumb;
#elif defined(__riscv)
using Instructions = RiscV;
#else
using Instructions = Xtensa;
#endif

}  // namespace otaseal
