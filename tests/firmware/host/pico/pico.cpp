// arduino-pico's chip and lwIP's time client.
#include <WiFi.h>
#include <lwip/apps/sntp.h>
#include <lwip_wrap.h>

#include <cstdlib>
#include <cstring>

#include "layout.h"

#define LARGEST_SKETCH 0x100000
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

RP2040 rp2040;

// The linker knows where the image ends, and only a run how long it is: so it is put where it ends there.
extern "C" uint8_t runningFlash[LARGEST_SKETCH];
uint8_t runningFlash[LARGEST_SKETCH] = {};
asm(".globl __flash_binary_end\n.set __flash_binary_end, runningFlash + " TEXT(LARGEST_SKETCH));

uintptr_t runningImage() {
  constexpr uint32_t LAYOUT = 0x2ff0;
  const uint32_t layout[] = {FILES_BEGIN, FILES_END, FILES_END, FILES_END - FLASH_BASE + 0x1000, chip.stack};
  static uint8_t *begin = nullptr;
  if (begin == nullptr) {
    begin = runningFlash + LARGEST_SKETCH - chip.sketchSize;
    memcpy(begin, chip.flash.data(), chip.sketchSize);
    if (begin[LAYOUT + 3] == 0xff) memcpy(begin + LAYOUT, layout, sizeof layout);  // nothing was put there
  }
  return reinterpret_cast<uintptr_t>(begin);
}

static int held = 0;

LWIPMutex::LWIPMutex() { held++; }
LWIPMutex::~LWIPMutex() { held--; }

static void check() {
  if (!chip.online || held == 0) abort();
}

void sntp_stop() { check(); }
void sntp_setoperatingmode(uint8_t) { check(); }
void sntp_setservername(uint8_t, const char *) { check(); }

void sntp_init() {
  check();
  chip.asksForTime = true;
}
