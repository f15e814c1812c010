// Where a signed file goes as it comes, whichever chip this is: add() its bytes, then finish().
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "slot_update.h"
#else
#include "core_update.h"
#endif

namespace otaseal {

#if defined(ARDUINO_ARCH_ESP32)
using Staging = SlotUpdate;
#else
using Staging = CoreUpdate;
#endif

}  // namespace otaseal
