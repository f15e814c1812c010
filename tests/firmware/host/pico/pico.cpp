// arduino-pico's chip and lwIP's time client.
#include <WiFi.h>
#include <lwip/apps/sntp.h>
#include <lwip_wrap.h>

#include <cstdlib>

RP2040 rp2040;

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
