#include "proof.h"

#include <pgmspace.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "port.h"

#if defined(ARDUINO_ARCH_ESP32)
#include <nvs.h>
#endif

namespace otaseal {

const char *capabilities = "1 proof";

// One for the chip, however many objects there are.
static uint32_t secret[HASH / sizeof(uint32_t)];
static bool kept;
static uint32_t sequence;  // of the last proof: Unix seconds, or more

static char digit(int value) { return static_cast<char>(value < 10 ? '0' + value : 'a' + value - 10); }

char *hex(const uint8_t *bytes, size_t size, char *text) {
  for (; size > 0; size--, bytes++) {
    *text++ = digit(*bytes >> 4);
    *text++ = digit(*bytes & 15);
  }
  *text = 0;
  return text;
}

void deviceName(char *text) {
  uint8_t mac[NAME / 2];
  WiFi.macAddress(mac);
  hex(mac, sizeof mac, text);
}

// A word of the radio's noise each millisecond: it is not to be read faster than it comes.
static void makeSecret() {
  for (uint32_t &word : secret) {
    word = port::random();
    delay(1);
  }
}

#if defined(ARDUINO_ARCH_ESP32)

// NVS replaces a value as a whole, and is there from the start: the core keeps its Wi-Fi's settings in it.
void loadSecret() {
  nvs_handle_t nvs;
  size_t size = sizeof secret;
  if (nvs_open("otaseal", NVS_READWRITE, &nvs) != ESP_OK) return;
  kept = nvs_get_blob(nvs, "secret", secret, &size) == ESP_OK && size == sizeof secret;
  if (!kept) {
    makeSecret();
    kept = nvs_set_blob(nvs, "secret", secret, sizeof secret) == ESP_OK && nvs_commit(nvs) == ESP_OK;
  }
  nvs_close(nvs);
}

#else

void loadSecret() {
  kept = files::read(files::SECRET, secret, sizeof secret) == sizeof secret;
  if (kept) return;
  makeSecret();
  kept = files::replace(files::SECRET, secret, sizeof secret);
}

#endif

bool proofKey(const char *name, uint8_t *key) { return kept && hmac(secret, name, NAME, key); }

uint32_t nextSequence(uint32_t now) {
  sequence = now > sequence ? now : sequence + 1;
  return sequence;
}

bool prove(const char *said, const char *name, bool withKey, char *value) {
  uint8_t key[HASH], mac[HASH];
  if (!proofKey(name, key) || !hmac(key, said, strlen(said), mac)) return false;
  value += snprintf_P(value, PROOF, PSTR("%s %u "), name, static_cast<unsigned>(sequence));
  value = hex(mac, HASH / 2, value);
  if (withKey) {
    *value++ = ' ';
    hex(key, HASH, value);
  }
  return true;
}

bool takeVerdict(const char *verdict) {
  const char first = *verdict;
  uint32_t last = 0;
  for (; *verdict != 0; verdict++) {
    const uint32_t digit = static_cast<uint32_t>(*verdict - '0');
    if (digit < 10) last = 10 * last + digit;
  }
  if (last > sequence) sequence = last;
  return first == 'u' || first == 'w';
}

}  // namespace otaseal
