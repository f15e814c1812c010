// A server whose pages are functions.
#pragma once
#include <Arduino.h>

#include <functional>

class WebServer {
 public:
  typedef std::function<void(void)> THandlerFunction;
  void on(const char *uri, THandlerFunction handler);

 private:
  THandlerFunction _handler;
};
