// Nobody ever asks.
#include "WebServer.h"

void WebServer::on(const char *, THandlerFunction handler) { _handler = handler; }
