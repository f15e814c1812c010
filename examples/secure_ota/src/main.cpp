// A device that updates itself: signed firmware, over verified TLS, never to an older security counter.
#if defined(ARDUINO_ARCH_ESP8266)
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <OtaSeal.h>

#include "settings.h"

static OtaSeal updates(UPDATE_HOST, UPDATE_PORT, OTASEAL_PRODUCT);

static void report(OtaSeal::Result, OtaSeal::Error error) { Serial.println(OtaSeal::errorText(error)); }

void setup() {
  Serial.begin(115200);
  WiFi.mode(WIFI_STA);
  WiFi.begin(APSSID, APPSK);
  updates.onResult(report);
  if (!updates.begin()) report(OtaSeal::Result::Failed, updates.lastError());
}

void loop() { updates.poll(); }  // and your own code: a poll that is due blocks while it talks to the server
