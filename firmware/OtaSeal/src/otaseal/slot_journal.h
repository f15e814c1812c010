// What an ESP32 keeps in NVS of a download on its way into the other slot: which file it is, its first bytes, which are in
// flash at the very end only, and how far it has come, in an entry of its own, which is replaced again and again.
#pragma once

#include <stdint.h>

#include "unfinished.h"

namespace otaseal {

struct SlotJournal {
  static constexpr uint8_t FORMAT = 1;
  static constexpr uint32_t FIRST = 16;

  uint8_t format = FORMAT;
  uint8_t slot = 0;  // subtype of the partition
  uint8_t first[FIRST] = {};
  Unfinished file;

  bool load();  // false: there is none
  void begin() const;  // of a file from its beginning
  void note() const;   // file.done
  static void forget();
};

}  // namespace otaseal
