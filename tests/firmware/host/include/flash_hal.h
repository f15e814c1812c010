// The flash layout.
#pragma once
#include <Esp.h>

#define FS_PHYS_ADDR (chip.filesystem)
