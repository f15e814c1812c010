// Not the ESP8266's: this core's updater is in Update.h.
#pragma once
