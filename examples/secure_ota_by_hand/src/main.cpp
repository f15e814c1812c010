// A device that updates itself, securely.
//
// Every few minutes it asks a server for new firmware. Two things are checked, by two different keys:
//   - the connection: TLS, and the server's certificate must come from an authority in /certs.ar (our own file system);
//   - the firmware: it must carry a signature made with our private key, or it is never started.
// The second check needs no code here. The build compiles the public key into the core's own updater
// (extra_scripts/verify_updates.py), so that every way of updating this device is covered.

#include <Arduino.h>

#include <time.h>

#include <ESP8266WiFi.h>
#include <ESP8266WiFiMulti.h>

#include <ESP8266HTTPClient.h>
#include <ESP8266httpUpdate.h>

#include <CertStoreBearSSL.h>
#include <FS.h>
#include <LittleFS.h>

#include "settings.h"

static const uint32_t UPDATE_INTERVAL_MS = UPDATE_INTERVAL_MINUTES * 60UL * 1000UL;
static const uint32_t CLOCK_TIMEOUT_MS = 10000;
static const uint32_t MAX_REPEATED_UPDATES = 3;

static ESP8266WiFiMulti wifi;
static BearSSL::CertStore certStore;  // must outlive every connection that uses it
static bool updatesOn = false;

// ---- No endless update loop ------------------------------------------------------------------------------------
//
// A good server answers "304 Not Modified" to a device that is up to date. A plain file server knows nothing about
// versions and sends its file each time: the device would flash the same firmware and restart, for ever. So before
// every restart we note which firmware was running, in memory that survives a restart but not a power cut. If after
// the restart the very same firmware runs, the update was for nothing; after three such updates we stop asking until
// the device is next switched off and on.

struct UpdateRecord {
  char sketchMd5[36];  // 32 digits and a zero, rounded up to whole words
  uint32_t repeats;
};
static const uint32_t RTC_BLOCK = 32;  // the 32 blocks of 4 bytes before it belong to the boot loader

static uint32_t repeatedUpdates() {
  UpdateRecord record;
  if (!ESP.rtcUserMemoryRead(RTC_BLOCK, reinterpret_cast<uint32_t *>(&record), sizeof(record))) {
    return 0;
  }
  // After a power cut the memory holds noise, which is no firmware's checksum.
  const String running = ESP.getSketchMD5();
  return strncmp(record.sketchMd5, running.c_str(), sizeof(record.sketchMd5)) == 0 ? record.repeats : 0;
}

static void noteUpdate() {
  UpdateRecord record = {};
  snprintf(record.sketchMd5, sizeof(record.sketchMd5), "%s", ESP.getSketchMD5().c_str());
  record.repeats = repeatedUpdates() + 1;
  ESP.rtcUserMemoryWrite(RTC_BLOCK, reinterpret_cast<uint32_t *>(&record), sizeof(record));
}

// ---- Clock -----------------------------------------------------------------------------------------------------
//
// A certificate has a first and a last day, so the device must know the date; at power-on it believes in 1970.

// The day before this file was compiled: whatever the time zone, it is certainly later than that.
static time_t buildTime() {
  struct tm day = {};
  strptime(__DATE__, "%b %d %Y", &day);
  return mktime(&day) - 24 * 60 * 60;
}

// The time from the network, or the build time if that does not come: time servers may be unreachable, and one that
// claims a date before our build is lying. Never waits for ever.
static time_t trustworthyTime() {
  const time_t floor = buildTime();
  const uint32_t start = millis();
  while (time(nullptr) < floor && millis() - start < CLOCK_TIMEOUT_MS) {
    delay(100);
  }
  const time_t now = time(nullptr);
  if (now < floor) {
    Serial.println(F("[clock] no time from the network, using the date of the build"));
    return floor;
  }
  Serial.printf_P(PSTR("[clock] %s"), ctime(&now));
  return now;
}

// ---- Certificates ----------------------------------------------------------------------------------------------

static bool loadCertificates() {
  // Without this line a file system that does not mount is formatted, and the certificates are gone for good.
  LittleFS.setConfig(LittleFSConfig(false));
  if (!LittleFS.begin()) {
    Serial.println(F("[certs] no file system. Did you run `pio run -t uploadfs`?"));
    return false;
  }
  // The count says how many entries the archive has, not that they are any good: a useless certificate counts as
  // well. It is the build that checks them. What is wrong all the same shows as a TLS error below.
  const int count = certStore.initCertStore(LittleFS, PSTR("/certs.idx"), PSTR("/certs.ar"));
  Serial.printf_P(PSTR("[certs] %d in /certs.ar\n"), count);
  return count > 0;
}

// ---- Update ----------------------------------------------------------------------------------------------------

static void onStart() { Serial.println(F("[update] started")); }

static void onProgress(int done, int total) { Serial.printf_P(PSTR("[update] %d of %d bytes\n"), done, total); }

static void onError(int error) { Serial.printf_P(PSTR("[update] error %d\n"), error); }

// Called when the new firmware is in flash and its signature was good, right before the restart.
static void onEnd() {
  Serial.println(F("[update] finished, restarting"));
  noteUpdate();
}

static void update() {
  BearSSL::WiFiClientSecure client;
  client.setCertStore(&certStore);  // verify the server; never setInsecure()
  client.setX509Time(trustworthyTime());

  // A TLS record may be 16 KB long, and a buffer for that is a third of our memory. If the server agrees to shorter
  // records, we need far less. (The question is a short connection of its own.)
  const bool shortRecords = BearSSL::WiFiClientSecure::probeMaxFragmentLength(UPDATE_HOST, UPDATE_PORT, 1024);
  Serial.printf_P(PSTR("[tls] records of 1024 bytes: %s\n"), shortRecords ? "yes" : "no");
  if (shortRecords) {
    client.setBufferSizes(1024, 512);
  }

  // Sends our version along. After a successful update the device restarts, and this call does not return.
  switch (ESPhttpUpdate.update(client, UPDATE_HOST, UPDATE_PORT, UPDATE_PATH, FIRMWARE_VERSION)) {
    case HTTP_UPDATE_FAILED: {
      Serial.printf_P(PSTR("[update] failed (%d): %s\n"), ESPhttpUpdate.getLastError(),
                      ESPhttpUpdate.getLastErrorString().c_str());
      char reason[100] = "";
      if (client.getLastSSLError(reason, sizeof(reason)) != 0) {
        Serial.printf_P(PSTR("[tls] %s\n"), reason);
      }
      break;
    }
    case HTTP_UPDATE_NO_UPDATES:
      Serial.println(F("[update] up to date"));
      break;
    case HTTP_UPDATE_OK:
      break;
  }
}

// ---- The sketch ------------------------------------------------------------------------------------------------

void setup() {
  Serial.begin(115200);
  Serial.printf_P(PSTR("\n[device] firmware %s, compiled %s\n"), FIRMWARE_VERSION, __DATE__);

  WiFi.persistent(false);  // the password is in the firmware already, no need to write it to flash at every start
  WiFi.mode(WIFI_STA);
  wifi.addAP(APSSID, APPSK);
  configTime(0, 0, "pool.ntp.org", "time.nist.gov");  // in UTC, like certificates; works as soon as Wi-Fi does

  ESPhttpUpdate.setLedPin(LED_BUILTIN, LOW);  // on while a piece is downloaded
  ESPhttpUpdate.onStart(onStart);
  ESPhttpUpdate.onProgress(onProgress);
  ESPhttpUpdate.onError(onError);
  ESPhttpUpdate.onEnd(onEnd);

  updatesOn = loadCertificates();
  if (repeatedUpdates() >= MAX_REPEATED_UPDATES) {
    Serial.println(F("[update] the server keeps sending what already runs: not asking again until power is cycled"));
    updatesOn = false;
  }
}

void loop() {
  // Your own code goes here. It runs whether updates work or not; asking for one holds it up for some seconds, and so
  // does run() while there is no network.

  static bool asked = false;
  static uint32_t lastAsked = 0;
  const bool due = !asked || millis() - lastAsked >= UPDATE_INTERVAL_MS;
  if (updatesOn && due && wifi.run() == WL_CONNECTED) {
    update();
    asked = true;
    lastAsked = millis();
  }
  delay(10);
}
