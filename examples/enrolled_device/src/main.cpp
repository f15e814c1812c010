// A device that updates itself and has a certificate of its own: it makes the key, and the server gets to know it at the
// bench or by a claim code. The private key never leaves the chip.
#if defined(ARDUINO_ARCH_ESP8266)
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <OtaSeal.h>

#include "settings.h"

static OtaSeal updates(UPDATE_HOST, UPDATE_PORT, OTASEAL_PRODUCT);

static void report(OtaSeal::Result result, OtaSeal::Error error) {
  Serial.println(result == OtaSeal::Result::Enrolled ? F("enrolled") : OtaSeal::errorText(error));
}

void setup() {
  Serial.begin(115200);
  WiFi.mode(WIFI_STA);
  WiFi.begin(APSSID, APPSK);
  updates.claim(CLAIM_CODE);  // and renews the certificate before it ends
  updates.onResult(report);
  if (!updates.begin()) report(OtaSeal::Result::Failed, updates.lastError());
}

void loop() {
  updates.enroll(Serial);  // at the bench: pio run -t enroll
  updates.poll();
}
