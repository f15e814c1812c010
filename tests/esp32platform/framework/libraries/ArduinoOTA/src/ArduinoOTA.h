// Updates that espota sends.
#pragma once
#include <WiFi.h>

class ArduinoOTAClass {
 public:
  ArduinoOTAClass();
  void begin();
  void handle();

 private:
  void _runUpdate();
  size_t _size;
};

extern ArduinoOTAClass ArduinoOTA;
