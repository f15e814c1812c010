// Nothing ever arrives.
#include "ArduinoOTA.h"

#include <Update.h>

ArduinoOTAClass::ArduinoOTAClass() : _size(0) {}

void ArduinoOTAClass::begin() { _size = 1; }

void ArduinoOTAClass::handle() {
  if (_size) _runUpdate();
}

__attribute__((noinline)) void ArduinoOTAClass::_runUpdate() {
  if (Update.begin(_size)) Update.end();
}

ArduinoOTAClass ArduinoOTA;
