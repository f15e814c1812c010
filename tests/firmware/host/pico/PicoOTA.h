// What the boot stub reads: sign, number of files, eight commands, CRC-32.
#pragma once
#include <cstdint>

struct OTACmdPage {
  uint8_t sign[8];
  uint32_t count;
  struct {
    uint32_t command;
    char name[64];
    uint32_t offset, length, address;
  } cmd[8];
  uint32_t crc32;
};
