// One question to the server: the connection and the HTTP on it. Out of line on purpose: what makes and unmakes these
// two is larger than what is done with them.
#pragma once

#include "port.h"
#include "tls.h"

namespace otaseal {

inline uint32_t uptime() { return static_cast<uint32_t>(millis()); }  // milliseconds

constexpr uint32_t LONGEST_DOWNLOAD = 10 * 60 * 1000;  // milliseconds: whatever comes, poll() returns
constexpr uint16_t TIMEOUT = 8000;                     // milliseconds, as the core's updater has it

constexpr char OFFERED[] = "X-Otaseal-Capabilities";  // the header in which a server says what it offers

constexpr char WAIT[] = "X-Otaseal-Wait";  // the header in which it says after how many seconds to ask again

// How long a body may be, in bytes.
struct Limits {
  uint32_t smallest, largest;
};

struct Request {
  Request();
  ~Request();
  Request(const Request &) = delete;
  Request &operator=(const Request &) = delete;

  TlsClient client;
  HTTPClient http;
  bool updates = false;  // it is for firmware, and says more of the device
  bool patches = false;  // which may come as a patch
};

extern const char OURS[];  // X-Otaseal-, in PROGMEM

// The header's name is made of two parts, both in PROGMEM.
void addHeader(HTTPClient &http, const char *prefix, const char *name, const String &value);

}  // namespace otaseal
