// How far addresses move in a firmware when code is inserted (docs/delta-format.md), by a map that comes with the patch.
// Arithmetic with addresses is modulo 2**32.
#pragma once

#include <stdint.h>

namespace otaseal {

class AddressMap {
 public:
  static constexpr uint8_t LIMIT = 64;  // entries

  void add(uint32_t start, uint32_t amount);  // by ascending start, at most LIMIT
  bool moves() const { return _count > 0; }  // anything
  // By how much an address is larger in the image. Most words are no addresses, and need no search.
  uint32_t amount(uint32_t address) const { return address - _first > _span ? 0 : find(address); }

 private:
  struct Shift {
    uint32_t start, amount;  // up to the next start, at most BLOCK bytes
  };
  static constexpr uint32_t BLOCK = 1UL << 20;

  uint32_t find(uint32_t address) const;

  uint32_t _first = 0;  // the address from which on anything moves
  uint32_t _span = 0;   // from there to the last one
  uint8_t _count = 0;
  Shift _shifts[LIMIT];
};

}  // namespace otaseal
