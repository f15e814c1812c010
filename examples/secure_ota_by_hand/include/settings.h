// Everything you may want to change, in one place. A value comes from the first of these that gives one:
//   1. build_flags in platformio.ini:  -D UPDATE_HOST=\"192.168.178.123\"
//   2. include/secret.h, which git ignores: copy secret.h.example and fill it in
//   3. the defaults below, with which the project builds but reaches no network
#pragma once

#if __has_include("secret.h")
#include "secret.h"
#endif

// The Wi-Fi network.
#ifndef APSSID
#define APSSID "your-network"
#endif
#ifndef APPSK
#define APPSK "your-password"
#endif

// Where updates are. The name or address must stand in the server's certificate exactly as it stands here.
#ifndef UPDATE_HOST
#define UPDATE_HOST "192.168.178.123"
#endif
#ifndef UPDATE_PORT
#define UPDATE_PORT 8443
#endif
#ifndef UPDATE_PATH
#define UPDATE_PATH "/firmware.bin.signed"  // with the leading slash
#endif

// What this firmware calls itself when it asks for an update. Change it with every release.
#ifndef FIRMWARE_VERSION
#define FIRMWARE_VERSION "1.0.0"
#endif

// How often the device asks, in minutes.
#ifndef UPDATE_INTERVAL_MINUTES
#define UPDATE_INTERVAL_MINUTES 10
#endif
