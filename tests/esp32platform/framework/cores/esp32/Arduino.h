// The header every sketch includes first.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pgmspace.h>
#include <pins_arduino.h>

#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x01
#define OUTPUT 0x03

#ifdef __cplusplus
extern "C" {
#endif
unsigned long millis(void);
void delay(uint32_t milliseconds);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
#ifdef __cplusplus
}
void setup(void);
void loop(void);
#endif
