#include "address_map.h"

namespace otaseal {

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

}  // namespace otaseal
