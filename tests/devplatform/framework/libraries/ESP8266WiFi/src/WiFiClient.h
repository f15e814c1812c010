// A TCP connection: none is ever made.
#pragma once
#include <Arduino.h>
#include <Client.h>

class WiFiClient : public Client {
 public:
  virtual WiFiClient *clone() const;  // of the same connection; std::unique_ptr in the real core
  virtual uint8_t status() { return 0; }
  int connect(IPAddress address, uint16_t port) override;
  int connect(const char *host, uint16_t port) override;
  virtual int connect(const String &host, uint16_t port);
  size_t write(uint8_t) override { return 0; }
  size_t write(const uint8_t *, size_t) override { return 0; }
  using Print::write;
  int available() override { return 0; }
  int read() override { return -1; }
  using Stream::read;
  int peek() override { return -1; }
  void stop() override {}
  uint8_t connected() override { return 0; }
  operator bool() override { return false; }
  IPAddress remoteIP() { return IPAddress(); }
  void setNoDelay(bool) {}
  static void stopAll() {}
  static void stopAllExcept(WiFiClient *) {}
};
