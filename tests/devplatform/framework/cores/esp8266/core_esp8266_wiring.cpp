// Time, pins and arithmetic: the pins go nowhere.
#include <Arduino.h>

static uint64_t nanoseconds() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ULL + now.tv_nsec;
}
static const uint64_t start = nanoseconds();

static void sleep_for(uint64_t ns) {
  const struct timespec time = {static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
  nanosleep(&time, nullptr);
}

extern "C" {
void delay(unsigned long milliseconds) { sleep_for(milliseconds * 1000000ULL); }
void delayMicroseconds(unsigned int microseconds) { sleep_for(microseconds * 1000ULL); }
unsigned long millis(void) { return (nanoseconds() - start) / 1000000; }
unsigned long micros(void) { return (nanoseconds() - start) / 1000; }
void pinMode(uint8_t, uint8_t) {}
void digitalWrite(uint8_t, uint8_t) {}
int digitalRead(uint8_t) { return LOW; }
int analogRead(uint8_t) { return 0; }
void analogWrite(uint8_t, int) {}
}

long random(long high) { return high > 0 ? rand() % high : 0; }
long random(long low, long high) { return low + random(high - low); }
void randomSeed(unsigned long seed) { srand(static_cast<unsigned>(seed)); }
long map(long value, long from_low, long from_high, long to_low, long to_high) {
  return from_high == from_low ? to_low : (value - from_low) * (to_high - to_low) / (from_high - from_low) + to_low;
}
