#pragma once
#include <FS.h>

struct LittleFSConfig : fs::FSConfig {
  explicit LittleFSConfig(bool formats = true) { autoFormat = formats; }
};

extern fs::FS LittleFS;
