// A connection: plain TCP is never used, so this is only what TLS connections have in common with it.
#pragma once
#include <Arduino.h>

#include <memory>

class WiFiClient : public Stream {
 public:
  virtual std::unique_ptr<WiFiClient> clone() const = 0;
  virtual int connect(const char *host, uint16_t port) = 0;
  virtual uint8_t connected() = 0;
  virtual void stop() = 0;
};
