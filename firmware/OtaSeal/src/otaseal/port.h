// What the chips' cores do differently, and nothing else. Each port gives the same names in namespace otaseal::port;
// they are inline or constant, so that a port costs what calling the core costs.
//
//   CLOCK_NEEDS_NETWORK  whether startClock() has to wait for a connection
//   KEYS_OF_ANY_SIZE     whether two keys may differ in size
//   random()             32 bits of chance
//   freeHeap()           bytes
//   restart()            does not return on the chip
//   startClock(a, b)     asks time servers from now on, and does not wait; b may be nullptr
//   describe(http, version)  says of the device what the core's updater says
//   beforeTaking(client) the answer's headers have come over `client`, and a file follows
//   beforeWriting()      nothing of it is in flash (not on the ESP8266)
//   judgeStart(first)    why no image begins with these FIRST_BYTES (on the ESP8266)
//   Inspector            is shown an update as it is hashed, and tells why this chip must not start from it
//   filesystemSize()     bytes (on the Pico)
//   isStaged(inspector)  whether the boot stub will find the update (on the Pico)
//   discardFailed()      gives back what an update of others takes that came to nothing (on the Pico)
//   discardInstalled()   gives back what the last update took, once the boot loader has carried it out
//   UpdateLock           while one is there no other one is held(), where there are tasks
//   PATCHES              whether the sketch can be read as the base of a patch
//   sketchSize()         bytes that sketchMd5() covers
//   readSketch(...)      these, from an offset that is a multiple of 4
//   sketchMd5()          as the core's updater sends it, or would; empty without PATCHES
//   patience(stream, ms) how long a read of an answer may wait, where the HTTP client does not hand its time-out on
#pragma once

#if defined(ARDUINO_ARCH_ESP8266)
#include "port_esp8266.h"
#elif defined(ARDUINO_ARCH_RP2040)
#include "port_pico.h"
#elif defined(ARDUINO_ARCH_ESP32)
#include "port_esp32.h"
#else
#error "OtaSeal is for esp8266/Arduino, earlephilhower/arduino-pico and espressif/arduino-esp32"
#endif
