// The order to the boot stub, and what it reads: sign, number of files, eight commands, CRC-32.
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

uint32_t checksum(const OTACmdPage &order);

// No checks but those that the core has; of what it ignores, too: whether the order could be written.
class PicoOTA {
 public:
  void begin();
  bool addFile(const char *name);
  bool commit();

 private:
  OTACmdPage _order;
};

extern PicoOTA picoOTA;
