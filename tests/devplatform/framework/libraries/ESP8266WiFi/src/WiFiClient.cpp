// A TCP connection: none is ever made on the host.
#include "WiFiClient.h"

WiFiClient *WiFiClient::clone() const { return new WiFiClient(*this); }
int WiFiClient::connect(IPAddress, uint16_t) { return 0; }
int WiFiClient::connect(const char *, uint16_t) { return 0; }
int WiFiClient::connect(const String &host, uint16_t port) { return connect(host.c_str(), port); }
