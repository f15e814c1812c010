// Nothing is ever reached.
#include "WiFi.h"

int WiFiClient::connect(const char *host, uint16_t port) { return host != nullptr && port != 0; }
int WiFiClient::read(uint8_t *, size_t) { return 0; }
