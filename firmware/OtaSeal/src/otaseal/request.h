// One question to the server: the connection and the HTTP on it. Out of line on purpose: what makes and unmakes these
// two is larger than what is done with them.
#pragma once

#include <WiFiClientSecure.h>

#include "port.h"

namespace otaseal {

struct Request {
  Request();
  ~Request();
  Request(const Request &) = delete;
  Request &operator=(const Request &) = delete;

  BearSSL::WiFiClientSecure client;
  HTTPClient http;
};

}  // namespace otaseal
