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

// The names or addresses must stand in the servers' certificates exactly as they stand here.
#ifndef UPDATE_HOST
#define UPDATE_HOST "192.168.178.123"
#endif
#ifndef UPDATE_PORT
#define UPDATE_PORT 8443
#endif
#ifndef MQTT_HOST
#define MQTT_HOST "192.168.178.123"
#endif
#ifndef MQTT_PORT
#define MQTT_PORT 8883
#endif
#ifndef MQTT_USER
#define MQTT_USER "device"
#define MQTT_PASSWORD "its-password"
#endif

#define CHANNEL "stable"

// The authority that issued the broker's certificate, in PEM: what `otaseal serve --mqtt` has as `ca`. It is no secret.
#ifndef BROKER_CA
#define BROKER_CA ""
#endif
