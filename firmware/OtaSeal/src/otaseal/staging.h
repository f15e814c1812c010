// Where a signed file goes as it comes, whichever chip this is: add() its bytes, then finish().
#pragma once

#if defined(ARDUINO_ARCH_ESP32)
#include "slot_update.h"
#elif defined(ARDUINO_ARCH_RP2040)
#include "file_update.h"
#else
#include "core_update.h"
#endif

namespace otaseal {

#if defined(ARDUINO_ARCH_ESP32)
using Staging = SlotUpdate;
#elif defined(ARDUINO_ARCH_RP2040)
using Staging = FileUpdate;
#else
using Staging = CoreUpdate;
#endif

}  // namespace otaseal
