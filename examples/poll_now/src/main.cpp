// A device that polls at once when the server says over MQTT that there is news. Such a message is a hint, and nothing more: the
// worst that it can do is one poll more. What is installed comes over verified TLS and is signed, as ever.
#if defined(ARDUINO_ARCH_ESP8266)
#include <ESP8266WiFi.h>
#else
#include <WiFi.h>
#endif
#include <WiFiClientSecure.h>
#include <OtaSeal.h>
#include <PubSubClient.h>
#include <time.h>

#include "settings.h"

static const char topic[] = "otaseal/" OTASEAL_PRODUCT "/" CHANNEL "/poll";
static const uint32_t spread = 60;     // seconds within which a fleet polls that is told at once
static const uint32_t retry = 30000;   // milliseconds between two tries to reach the broker
static const time_t plausible = 1700000000;  // before the clock is set, no certificate is valid

static OtaSeal updates(UPDATE_HOST, UPDATE_PORT, OTASEAL_PRODUCT, CHANNEL);
static WiFiClientSecure tls;
static PubSubClient broker(tls);
static uint32_t tried = 0;

static void report(OtaSeal::Result, OtaSeal::Error error) { Serial.println(OtaSeal::errorText(error)); }

static void told(char *, uint8_t *, unsigned int) { updates.pollNow(spread); }

static void trustBroker() {
#if defined(ARDUINO_ARCH_ESP32)
  tls.setCACert(BROKER_CA);
#else
  static const BearSSL::X509List authority(BROKER_CA);
  tls.setTrustAnchors(&authority);
#endif
}

static void listen() {
  if (broker.loop() || WiFi.status() != WL_CONNECTED || time(nullptr) < plausible || millis() - tried < retry) return;
  tried = millis();
  if (broker.connect(WiFi.macAddress().c_str(), MQTT_USER, MQTT_PASSWORD)) broker.subscribe(topic);
}

void setup() {
  Serial.begin(115200);
  WiFi.mode(WIFI_STA);
  WiFi.begin(APSSID, APPSK);
  trustBroker();
  broker.setServer(MQTT_HOST, MQTT_PORT);
  broker.setCallback(told);
  updates.onResult(report);
  if (!updates.begin()) report(OtaSeal::Result::Failed, updates.lastError());
}

void loop() {
  listen();
  updates.poll();  // when it is time, or when it was told
}
