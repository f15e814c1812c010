#pragma once
#include <stdint.h>

uint32_t efuse_hal_chip_revision(void);  // major * 100 + minor
