#if defined(ARDUINO_ARCH_ESP8266)

#include "port_esp8266.h"

#include "request.h"

namespace otaseal {
namespace port {

static const char PREFIX[] PROGMEM = "x-ESP8266-";

void describe(HTTPClient &http, const String &version) {
  http.setUserAgent(F("ESP8266-http-Update"));
  addHeader(http, PREFIX, PSTR("Chip-ID"), String(ESP.getChipId()));
  addHeader(http, PREFIX, PSTR("STA-MAC"), WiFi.macAddress());
  addHeader(http, PREFIX, PSTR("AP-MAC"), WiFi.softAPmacAddress());
  addHeader(http, PREFIX, PSTR("free-space"), String(ESP.getFreeSketchSpace()));
  addHeader(http, PREFIX, PSTR("sketch-size"), String(sketchSize()));
  addHeader(http, PREFIX, PSTR("sketch-md5"), sketchMd5());
  addHeader(http, PREFIX, PSTR("chip-size"), String(ESP.getFlashChipRealSize()));
  addHeader(http, PREFIX, PSTR("sdk-version"), ESP.getSdkVersion());
  addHeader(http, PREFIX, PSTR("mode"), F("sketch"));
  if (!version.isEmpty()) addHeader(http, PREFIX, PSTR("version"), version);
}

}  // namespace port
}  // namespace otaseal

#endif
