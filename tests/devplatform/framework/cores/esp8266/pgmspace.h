// Flash-resident data: on the host it is plain read-only data, one section an object as on the chip.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEVPLATFORM_TEXT_(x) #x
#define DEVPLATFORM_TEXT(x) DEVPLATFORM_TEXT_(x)
// A section of its own for each object: const and non-const, plain and COMDAT cannot share one.
#define PROGMEM __attribute__((section(".rodata.progmem." DEVPLATFORM_TEXT(__COUNTER__))))
#define PGM_P const char *
#define PGM_VOID_P const void *
#define PSTR(s) (__extension__({ static const char flash_text[] PROGMEM = (s); &flash_text[0]; }))

#define pgm_read_byte(address) (*reinterpret_cast<const uint8_t *>(address))
#define pgm_read_word(address) (*reinterpret_cast<const uint16_t *>(address))
#define pgm_read_dword(address) (*reinterpret_cast<const uint32_t *>(address))
#define strlen_P strlen
#define strcmp_P strcmp
#define strncmp_P strncmp
#define strcpy_P strcpy
#define strncpy_P strncpy
#define strcat_P strcat
#define strstr_P strstr
#define memcpy_P memcpy
#define memcmp_P memcmp
#define snprintf_P snprintf
#define vsnprintf_P vsnprintf
