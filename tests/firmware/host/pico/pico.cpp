// arduino-pico's chip and lwIP's time client.
#include <WiFi.h>
#include <lwip/apps/sntp.h>
#include <lwip_wrap.h>

#include <cstdlib>
#include <cstring>

#include "layout.h"

RP2040 rp2040;

uintptr_t runningImage() {
  constexpr uint32_t LAYOUT = 0x2ff0;
  const uint32_t layout[] = {FILES_BEGIN, FILES_END, FILES_END, FILES_END - FLASH_BASE + 0x1000, chip.stack};
  static uint8_t flash[LAYOUT + sizeof layout];
  memcpy(flash + LAYOUT, layout, sizeof layout);
  return reinterpret_cast<uintptr_t>(flash);
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
