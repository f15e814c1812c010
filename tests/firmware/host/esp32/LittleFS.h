// LittleFS of arduino-esp32: told with begin() whether to format.
#pragma once
#include <FS.h>

class LittleFSFS : public fs::FS {
 public:
  bool begin(bool formatOnFail = false);
};

extern LittleFSFS LittleFS;
