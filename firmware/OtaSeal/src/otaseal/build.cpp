// The generated header becomes data here, and nowhere else.
#include "build.h"

#include <pgmspace.h>

#include "port.h"

#if __has_include(<OtaSealBuild.h>)
#include <OtaSealBuild.h>
#endif

#if !defined(OTASEAL_IDENTITY) || !defined(OTASEAL_KEY)
#error "no key is compiled in: add verify_updates.py to extra_scripts, and set custom_otaseal_product and custom_otaseal_signing_key"
#endif
#ifndef OTASEAL_VERSION
#define OTASEAL_VERSION ""
#endif

namespace otaseal {
namespace {

constexpr int decimal(char c) { return c >= '0' && c <= '9' ? c - '0' : 0; }

// Days from 1970-01-01 to this day; the year begins in March (month 0), so that a leap day is the last one. (One return
// each, and short names for it: core 2.0.17 of the ESP32 compiles C++11.)
constexpr uint32_t daysFromMarch(int y, int m, int day) {
  return static_cast<uint32_t>(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468);
}

constexpr uint32_t days(int year, int month, int day) {
  return month > 2 ? daysFromMarch(year, month - 3, day) : daysFromMarch(year - 1, month + 9, day);
}

// The month of "Mmm dd yyyy" by its letters.
constexpr int month(const char *date) {
  return date[0] == 'J'   ? (date[1] == 'a' ? 1 : date[2] == 'n' ? 6 : 7)
         : date[0] == 'F' ? 2
         : date[0] == 'M' ? (date[2] == 'r' ? 3 : 5)
         : date[0] == 'A' ? (date[1] == 'p' ? 4 : 8)
         : date[0] == 'S' ? 9
         : date[0] == 'O' ? 10
         : date[0] == 'N' ? 11
                          : 12;
}

// Midnight of the day before: whatever the compiler's time zone, the build is later than that.
constexpr uint32_t compiled(const char *date) {
  return 86400 * (days(1000 * decimal(date[7]) + 100 * decimal(date[8]) + 10 * decimal(date[9]) + decimal(date[10]),
                       month(date), 10 * decimal(date[4]) + decimal(date[5])) - 1);
}

static_assert(compiled("Mar  1 2024") == 1709164800, "1 March 2024 follows on 29 February");
static_assert(compiled("Jan  1 1970") == 0u - 86400u, "the epoch");

const uint8_t identity[] PROGMEM = OTASEAL_IDENTITY;
const char version[] PROGMEM = OTASEAL_VERSION;
const char key[] PROGMEM = OTASEAL_KEY;
#ifdef OTASEAL_NEXT_KEY
const char nextKey[] PROGMEM = OTASEAL_NEXT_KEY;
static_assert(port::KEYS_OF_ANY_SIZE || (sizeof key < sizeof nextKey + 64 && sizeof nextKey < sizeof key + 64),
              "arduino-pico takes signatures of one length: both keys have to have one size");
#else
constexpr const char *nextKey = nullptr;
#endif
static_assert(sizeof identity == 64, "OTASEAL_IDENTITY is an identity record");

#ifdef OTASEAL_BUILD_TIME
constexpr uint32_t time = OTASEAL_BUILD_TIME;
#else
constexpr uint32_t time = compiled(__DATE__);
#endif

constexpr Build ours = {identity, version, key, nextKey, time};

}  // namespace

const Build &build() { return ours; }

}  // namespace otaseal
