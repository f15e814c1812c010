// What you may want to change. build_flags in platformio.ini win (-D UPDATE_HOST=\"192.168.178.123\"), then
// include/secret.h, which git ignores: copy secret.h.example and fill it in.
#pragma once

#if __has_include("secret.h")
#include "secret.h"
#endif

#ifndef APSSID
#define APSSID "your-network"
#endif
#ifndef APPSK
#define APPSK "your-password"
#endif

// The name or address must stand in the server's certificate exactly as it stands here.
#ifndef UPDATE_HOST
#define UPDATE_HOST "192.168.178.123"
#endif
#ifndef UPDATE_PORT
#define UPDATE_PORT 8443
#endif

// What `otaseal claim new` has shown, for devices that were not at the bench; nullptr: all of them are.
#ifndef CLAIM_CODE
#define CLAIM_CODE nullptr
#endif
