// Time, pins and arithmetic: the pins go nowhere.
#include <Arduino.h>

#include <chrono>
#include <thread>

static std::chrono::steady_clock::duration since_start() {
  static const auto start = std::chrono::steady_clock::now();
  return std::chrono::steady_clock::now() - start;
}

extern "C" {
void delay(unsigned long milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }
void delayMicroseconds(unsigned int us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }
unsigned long millis(void) { return std::chrono::duration_cast<std::chrono::milliseconds>(since_start()).count(); }
unsigned long micros(void) { return std::chrono::duration_cast<std::chrono::microseconds>(since_start()).count(); }
void pinMode(uint8_t, uint8_t) {}
void digitalWrite(uint8_t, uint8_t) {}
int digitalRead(uint8_t) { return LOW; }
int analogRead(uint8_t) { return 0; }
void analogWrite(uint8_t, int) {}
}

long random(long high) { return high > 0 ? std::rand() % high : 0; }
long random(long low, long high) { return low + random(high - low); }
void randomSeed(unsigned long seed) { std::srand(static_cast<unsigned>(seed)); }
long map(long value, long from_low, long from_high, long to_low, long to_high) {
  return from_high == from_low ? to_low : (value - from_low) * (to_high - to_low) / (from_high - from_low) + to_low;
}
