// LittleFS in memory. Content becomes visible when its file is closed, names change at once or not at all. The power may
// fail before every operation and every byte.
#pragma once
#include <cstdint>
#include <map>
#include <string>

struct Disk {
  std::map<std::string, std::string> files;
  bool mountable = true;
  bool formats = true;   // what the core does with a disk that does not mount, unless it is told not to
  bool formatted = false;
  bool replaces = true;  // a file that is renamed takes the place of another one, as in LittleFS
  bool torn = false;     // a pessimist's filesystem: bytes are in place as soon as they are written
  size_t room = SIZE_MAX;  // bytes that all files together may have
  uint64_t operations = 0, cutAt = 0;  // 0: never
  bool dead = false;

  void step();  // throws PowerCut when it is time
  size_t used() const;
};

extern Disk disk;
