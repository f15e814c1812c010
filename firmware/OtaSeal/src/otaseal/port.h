// What the chips' cores do differently, and nothing else. Each port gives the same names in namespace otaseal::port;
// they are inline or constant, so that a port costs what calling the core costs.
//
//   HttpUpdater          the core's class that fetches and writes an update
//   CLOCK_NEEDS_NETWORK  whether startClock() has to wait for a connection
//   STOPS_BEFORE_WRITING whether an update ends where its start callback closes the connection
//   KEYS_OF_ANY_SIZE     whether two keys may differ in size
//   random()             32 bits of chance
//   freeHeap()           bytes
//   restart()            does not return on the chip
//   startClock(a, b)     asks time servers from now on, and does not wait; b may be nullptr
//   prepare(updater)     what has to be set before it fetches
//   beforeWriting()      the answer's headers are here, and nothing of it is in flash
//   Inspector            is shown an update as it is hashed, and tells why this chip must not start from it
//   isStaged(inspector)  whether the boot loader will find the update that the core has accepted
//   discardFailed()      gives back what an update takes that came to nothing
//   discardInstalled()   gives back what the last update took, once the boot loader has carried it out
//   patience(stream, ms) how long a read of an answer may wait, where the HTTP client does not hand its time-out on
#pragma once

#if defined(ARDUINO_ARCH_ESP8266)
#include "port_esp8266.h"
#elif defined(ARDUINO_ARCH_RP2040)
#include "port_pico.h"
#else
#error "OtaSeal is for esp8266/Arduino and for earlephilhower/arduino-pico"
#endif
