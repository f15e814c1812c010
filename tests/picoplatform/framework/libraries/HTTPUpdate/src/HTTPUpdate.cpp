// Updates over HTTP: none ever arrives.
#include "HTTPUpdate.h"

#include <Updater.h>

HTTPUpdate httpUpdate;

bool HTTPUpdate::update(WiFiClient &client, const char *host, uint16_t port, const char *uri) {
  return client.connect(host, port) && Update.begin(strlen(uri)) && Update.end();
}
