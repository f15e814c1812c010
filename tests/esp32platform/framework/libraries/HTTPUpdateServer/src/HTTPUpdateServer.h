// A page that takes an update. All of it is in the header: its code is in the sketch's own object.
#pragma once
#include <Update.h>
#include <WebServer.h>

class HTTPUpdateServer {
 public:
  void setup(WebServer *server) {
    server->on("/update", []() {
      if (Update.begin(UPDATE_SIZE_UNKNOWN)) Update.end(true);
    });
  }
};
