// The header every sketch includes first. (Its C headers only: the C++ ones would double compile times.)
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <Callback.h>
#include <core_version.h>
#include <pgmspace.h>

#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x00
#define INPUT_PULLUP 0x02
#define OUTPUT 0x01
#define RISING 0x01
#define FALLING 0x02
#define CHANGE 0x03
#define IRAM_ATTR
#define ICACHE_RAM_ATTR
#define ICACHE_FLASH_ATTR
#define bit(b) (1UL << (b))
#define _BV(b) (1UL << (b))
#define constrain(value, low, high) ((value) < (low) ? (low) : ((value) > (high) ? (high) : (value)))

typedef bool boolean;
typedef uint8_t byte;

extern "C" {
void setup(void);
void loop(void);
void yield(void);
void delay(unsigned long milliseconds);
void delayMicroseconds(unsigned int microseconds);
unsigned long millis(void);
unsigned long micros(void);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
int digitalRead(uint8_t pin);
int analogRead(uint8_t pin);
void analogWrite(uint8_t pin, int value);
}

template <typename T>
constexpr const T &min(const T &a, const T &b) { return b < a ? b : a; }
template <typename T>
constexpr const T &max(const T &a, const T &b) { return a < b ? b : a; }

long random(long high);
long random(long low, long high);
void randomSeed(unsigned long seed);
long map(long value, long from_low, long from_high, long to_low, long to_high);

void setTZ(const char *tz);
void configTime(int timezone, int daylight_offset, const char *server1, const char *server2 = nullptr,
                const char *server3 = nullptr);
void configTime(const char *tz, const char *server1, const char *server2 = nullptr, const char *server3 = nullptr);
bool getLocalTime(struct tm *info, uint32_t timeout = 5000);

#include <WString.h>
#include <HardwareSerial.h>
#include <Esp.h>
#include <Updater.h>
#include <pins_arduino.h>
