// Where the filesystem begins in flash: as eagle.flash.4m1m.ld has it.
#pragma once

#define FS_PHYS_ADDR 0x300000u
