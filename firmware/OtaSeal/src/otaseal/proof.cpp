#include "proof.h"

#include <OtaSeal.h>
#include <pgmspace.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "instructions.h"

#if defined(ARDUINO_ARCH_ESP32)
#include <nvs.h>
#endif

using namespace otaseal;

namespace otaseal {

const char *capabilities = "1 proof";

// One for the chip, however many objects there are.
static uint32_t secret[HASH / sizeof(uint32_t)];
static bool kept;
static uint32_t sequence;  // of the last proof: Unix seconds, or more

char *hex(const uint8_t *bytes, size_t size, char *text) {
  for (size_t i = 0; i < 2 * size; i++) {
    const int digit = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
    *text++ = static_cast<char>(digit < 10 ? '0' + digit : 'a' + digit - 10);
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

const char OURS[] PROGMEM = "X-Otaseal-";

// Out of line: the strings that are made and unmade are larger than the call.
__attribute__((noinline)) void addHeader(HTTPClient &http, const char *prefix, const char *name, const String &value) {
  String whole(FPSTR(prefix));
  whole += FPSTR(name);
  http.addHeader(whole, value);
}

}  // namespace otaseal

static const char HEADERS[] PROGMEM = "Counter\0Error\0Certs\0Board\0Capabilities\0Proof";
static constexpr int CLAIMS = 5;             // of these, before the proof
static constexpr size_t LONGEST_VERSION = 128;  // characters, as a server takes them

// Ends the line at `at`, and returns where the next one begins.
static __attribute__((noinline)) char *endLine(char *at) {
  at += strlen(at);
  *at++ = '\n';
  *at = 0;
  return at;
}

// Two lines: what port::describe() says of the device in headers of its own, if the request is for firmware.
static char *describe(const Build &build, bool updates, char *at) {
  if (updates) strncpy_P(at, build.version, LONGEST_VERSION);
  at[LONGEST_VERSION] = 0;
  at = endLine(at);
  if (updates) strcpy(at, port::sketchMd5().c_str());
  return endLine(at);
}

// Sends a header for each line, and returns the name of the next one.
static PGM_P sendLines(HTTPClient &http, char *line) {
  PGM_P header = HEADERS;
  for (int left = CLAIMS; left > 0; left--) {
    char *end = strchr(line, '\n');
    *end = 0;
    addHeader(http, OURS, header, line);
    *end = '\n';
    line = end + 1;
    header += strlen_P(header) + 1;
  }
  return header;
}

// Writes the header's value over what it proves; false: there is no proof.
static bool prove(char *said, const char *name, bool withKey) {
  uint8_t key[HASH], mac[HASH];
  if (!proofKey(name, key) || !hmac(key, said, strlen(said), mac)) return false;
  memmove(said, name, NAME);
  char *at = said + NAME;
  at += snprintf_P(at, 13, PSTR(" %u "), static_cast<unsigned>(sequence));
  at = hex(mac, HASH / 2, at);
  if (withKey) {
    *at++ = ' ';
    hex(key, HASH, at);
  }
  return true;
}

// What is asked for, what the server is told, and the proof of both: a MAC over one value a line, of which the last ones are
// sent as headers of ours.
void OtaSeal::address(Request &request, const char *file) {
  char said[512];  // a path and a version have at most 128 characters each
  const Manifest identity = _gate.identity();
  strcpy_P(said, PSTR("otaseal-proof-1\n"));
  char *at = said + strlen(said);
  path(file, at, PATH);
  request.http.begin(request.client, _server, _port, at, true);
  request.http.useHTTP10(true);
  request.http.setTimeout(TIMEOUT);
  at = endLine(at);
  const char *name = at;
  deviceName(at);
  at = endLine(at);
  char *claims = at = describe(_build, request.updates, at);
  at += snprintf_P(at, 32, PSTR("%u\n%u\n"), static_cast<unsigned>(identity.counter()), static_cast<unsigned>(reported()));
  hex(_certificatesHash, HASH, at);
  at = endLine(at);
  at = hex(identity.board(), Manifest::ID, at);
  const uint32_t now = clock();
  sequence = now > sequence ? now : sequence + 1;
  snprintf_P(at, static_cast<size_t>(said + sizeof said - at), PSTR("\n%s%s\n%u\n"), capabilities,
             request.patches ? Instructions::words() : "", static_cast<unsigned>(sequence));
  PGM_P last = sendLines(request.http, claims);
  if (prove(said, name, _showsKey)) addHeader(request.http, OURS, last, said);
  _showsKey = false;
}

// What the server says of the proof: that the key is unknown, or wrong, or after which sequence the next one has to go on. Told
// by its first letter, and whatever number it names. Of a good proof it says nothing, and neither does one that knows of none.
void OtaSeal::takeVerdict(const char *verdict) {
  uint32_t last = 0;
  _showsKey = *verdict > 'a';
  for (; *verdict != 0; verdict++) {
    const uint32_t digit = static_cast<uint32_t>(*verdict - '0');
    if (digit < 10) last = 10 * last + digit;
  }
  if (last > sequence) sequence = last;
}
