// Where the filesystem begins in the flash of the host.
#pragma once
#include <chip.h>

#define FS_PHYS_ADDR (chip.filesystem)
