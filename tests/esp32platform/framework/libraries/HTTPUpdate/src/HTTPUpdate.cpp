// As in the real library the object is there for every sketch that includes the header, and begins nothing by itself.
#include "HTTPUpdate.h"

#include <Update.h>

HTTPUpdate::HTTPUpdate() : _timeout(8000) {}

int HTTPUpdate::update(WiFiClient &client, const char *host, uint16_t port, const char *uri) {
  return client.connect(host, port) && runUpdate(client, strlen(uri)) && _timeout;
}

__attribute__((noinline)) bool HTTPUpdate::runUpdate(WiFiClient &in, uint32_t size) {
  uint8_t buffer[16];
  return Update.begin(size, U_FLASH) && Update.write(buffer, in.read(buffer, sizeof buffer)) && Update.end();
}

HTTPUpdate httpUpdate;
