"""A virtual Raspberry Pi Pico: what RP2040 and RP2350 make of an update under arduino-pico.

Written from `Updater.cpp`, `PicoOTA.h`, `ota.c` and the boot ROMs' rules. TLS, certificate store, trailer and the
library's judgement are those of the ESP8266, whose code the core has taken over; flash, order and start are its own.
"""
