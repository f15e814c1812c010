// The LittleFS filesystem.
#include "LittleFS.h"

FS LittleFS;
