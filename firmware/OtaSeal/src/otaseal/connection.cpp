// What a request to the server says, and what a poll for firmware comes to. How connections are made is in
// connection_bearssl.cpp and connection_esp32.cpp.
#include <OtaSeal.h>

#include "crypto.h"

using namespace otaseal;

Request::Request() = default;
Request::~Request() {
  http.end();
  client.stop();  // keeps the session
}

bool OtaSeal::path(const char *file, char *text, size_t size) const {
  const int length = _channel != nullptr ? snprintf_P(text, size, PSTR("/%s/%s/%s"), _product, _channel, file)
                                         : snprintf_P(text, size, PSTR("/%s/%s"), _product, file);
  return length > 0 && static_cast<size_t>(length) < size;
}

// Out of line: the strings that are made and unmade are larger than the call.
static __attribute__((noinline)) void addHeader(HTTPClient &http, PGM_P name, const char *value) {
  String whole(F("X-Otaseal-"));
  whole += FPSTR(name);
  http.addHeader(whole, value);
}

static const char HEADERS[] PROGMEM = "Counter\0Error\0Certs\0Board\0Capabilities\0Proof";

// What is asked for, and what the server is told. The proof is over one value a line, and our headers are what stands there.
void OtaSeal::address(Request &request, const char *file) {
  char said[512], name[NAME + 1], certificates[2 * HASH + 1], board[2 * Manifest::ID + 1];
  const Manifest identity = _gate.identity();
  deviceName(name);
  hex(_certificatesHash, HASH, certificates);
  hex(identity.board(), Manifest::ID, board);
  strcpy_P(said, PSTR("otaseal-proof-1\n"));
  char *at = said + strlen(said);
  path(file, at, PATH);
  request.http.begin(request.client, _server, _port, at, true);
  at += strlen(at);
  at += snprintf_P(at, 180, PSTR("\n%s\n%.128s\n%s\n"), name, request.version.c_str(), request.md5.c_str());
  snprintf_P(at, 180, PSTR("%u\n%u\n%s\n%s\n%s\n%u\n"), static_cast<unsigned>(identity.counter()),
             static_cast<unsigned>(_error), certificates, board, capabilities, static_cast<unsigned>(nextSequence(clock())));
  PGM_P header = HEADERS;
  for (int left = 5; left > 0; left--) {
    char *end = strchr(at, '\n');
    *end = 0;
    addHeader(request.http, header, at);
    *end = '\n';
    at = end + 1;
    header += strlen_P(header) + 1;
  }
  if (prove(said, name, _showsKey, said)) addHeader(request.http, header, said);
  _showsKey = false;
}

void OtaSeal::pollFirmware() {
  int detail = 0;
  bool installed = false;
  const Error error = fetch(installed, detail);
  _failed = error != Error::None;
  const bool talked = !_failed || error >= Error::Http;
  if (talked) noteTime();
  if (!talked) _fragments = false;  // perhaps another server answers next time
  if (error == Error::None && !installed && _journal.record.attempts != 0) {
    _journal.record.attempts = 0;
    _journal.save();
  }
  const bool last = installed || !talked;
  if (!last) _step = Step::Certificates;
  finish(installed ? Result::Installed : _failed ? Result::Failed : Result::UpToDate, error, detail, last);
  if (installed && _restart) port::restart();
}
