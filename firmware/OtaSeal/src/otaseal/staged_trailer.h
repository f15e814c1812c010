// The one thing the core's updater does not tell: the signature length at the end of what it has written to flash.
#pragma once

#include <stdint.h>

namespace otaseal {

uint32_t stagedTrailer();  // 0 if it cannot be read

}  // namespace otaseal
