// lwIP's time client. Nothing of lwIP may be called before the network is there.
#pragma once
#include <cstdint>

enum { SNTP_OPMODE_POLL = 0 };
void sntp_stop();
void sntp_setoperatingmode(uint8_t mode);
void sntp_setservername(uint8_t index, const char *server);
void sntp_init();
