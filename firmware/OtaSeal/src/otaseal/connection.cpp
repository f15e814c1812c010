// Talking to the server: how a connection is set up, what a request says, and what went wrong with it.
#include <OtaSeal.h>

#include "buffers.h"

using namespace otaseal;

static constexpr int16_t OUT_OF_MEMORY = -1000;  // what the core's TLS client says in the place of BearSSL's number
static constexpr uint32_t STALL = 30 * 1000;  // milliseconds without another sector of the image; the core waits for 60 s
static constexpr uint16_t PROBED = 512;  // a server that agrees to the shortest records agrees to all

// The core's own client: it sends what it always sends, writes to flash, and asks our gate. That a request may bring
// headers of its own is not open to callers of all releases.
class Fetcher final : public port::HttpUpdater {
 public:
  using port::HttpUpdater::handleUpdate;
};

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

// Tries it: not every core tells its largest block, and the ESP8266's brings 2 KB of printed statistics along.
static bool oneBlock(uint32_t size) {
  void *volatile block = malloc(size);
  free(block);
  return block != nullptr;
}

bool OtaSeal::configure(BearSSL::WiFiClientSecure &client, BearSSL::CertStore &store) {
  const Buffers buffers = planBuffers(_fragments, port::freeHeap(), oneBlock);
  if (buffers.receive == 0) return false;
  client.setBufferSizes(buffers.receive, buffers.send);
  client.setSSLVersion(BR_TLS12, BR_TLS12);
  client.setCertStore(&store);
  client.setX509Time(clock());
  if (_clientKey != nullptr && _clientKey->isEC()) {
    client.setClientECCert(_clientCertificate.get(), _clientKey.get(), BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN, BR_KEYTYPE_EC);
  } else if (_clientKey != nullptr) {
    client.setClientRSACert(_clientCertificate.get(), _clientKey.get());
  }
  return true;
}

// Out of line: two strings made and unmade are larger than the call.
static __attribute__((noinline)) void addHeader(HTTPClient &http, const __FlashStringHelper *name, const char *value) {
  http.addHeader(name, value);
}

void OtaSeal::addHeaders(HTTPClient &http) {
  static const char digits[] PROGMEM = "0123456789abcdef";
  char hex[2 * sizeof _certificatesHash + 1];
  char *at = hex;
  for (const uint8_t one : _certificatesHash) {
    *at++ = static_cast<char>(pgm_read_byte(digits + (one >> 4)));
    *at++ = static_cast<char>(pgm_read_byte(digits + (one & 15)));
  }
  *at = 0;
  char number[11];
  snprintf_P(number, sizeof number, PSTR("%u"), static_cast<unsigned>(_gate.identity().counter()));
  addHeader(http, F("X-Otaseal-Counter"), number);
  snprintf_P(number, sizeof number, PSTR("%u"), static_cast<unsigned>(_error));
  addHeader(http, F("X-Otaseal-Error"), number);
  addHeader(http, F("X-Otaseal-Certs"), hex);
}

bool OtaSeal::open(Request &request, const char *file) {
  char uri[PATH];
  if (!configure(request.client, _store)) return false;
  request.client.setSession(&_session);
  path(file, uri, PATH);
  request.http.begin(request.client, _server, _port, uri, true);
  addHeaders(request.http);
  return true;
}

namespace {

struct Meaning {
  int16_t code;
  Error error;
};

// The core's own numbers; in flash, for a switch would be made into a table in RAM.
const Meaning TLS_MEANINGS[] PROGMEM = {
    {BR_ERR_X509_BAD_SERVER_NAME, Error::ServerName},
    {BR_ERR_X509_EXPIRED, Error::CertificateTime},
    {BR_ERR_X509_NOT_TRUSTED, Error::Untrusted},
    {OUT_OF_MEMORY, Error::Memory},
    {0, Error::Tls},
};
const Meaning HTTP_MEANINGS[] PROGMEM = {
    {HTTP_UE_TOO_LESS_SPACE, Error::Space},
    {HTTP_UE_SERVER_NOT_REPORT_SIZE, Error::NoLength},
    {HTTP_UE_SERVER_FILE_NOT_FOUND, Error::NotFound},
    {HTTP_UE_SERVER_FORBIDDEN, Error::Forbidden},
    {HTTP_UE_SERVER_UNAUTHORIZED, Error::Unauthorized},
    {HTTP_UE_BIN_VERIFY_HEADER_FAILED, Error::NotFirmware},
    {HTTP_UE_BIN_FOR_WRONG_FLASH, Error::Flash},
    {UPDATE_ERROR_MAGIC_BYTE, Error::NotFirmware},
    {UPDATE_ERROR_SPACE, Error::Space},
    {UPDATE_ERROR_STREAM, Error::Truncated},
    {UPDATE_ERROR_SIGN, Error::Signature},
#ifdef UPDATE_ERROR_OOM  // not in core 3.0
    {UPDATE_ERROR_OOM, Error::Memory},
#endif
    {0, Error::Http},
};

// The last one stands for all others.
Error meaning(const Meaning *table, int code) {
  for (;; table++) {
    Meaning one;
    memcpy_P(&one, table, sizeof one);
    if (one.code == code || one.code == 0) return one.error;
  }
}

}  // namespace

// `code`: HTTPClient's (negative), the HTTP updater's (-100 and below) or the updater's (positive).
Error OtaSeal::classify(BearSSL::WiFiClientSecure &client, int code, int &detail) {
  detail = code;
  if (code < 0 && code > HTTP_UE_TOO_LESS_SPACE) {
    const int tls = client.getLastSSLError();
    if (tls == 0) return Error::Connect;
    detail = tls;
    forgetSession();
    return meaning(TLS_MEANINGS, tls);
  }
  const Error error = meaning(HTTP_MEANINGS, code);
  if (error == Error::Signature && _gate.error() != Error::None) return _gate.error();
  return error == Error::Http && code > 0 ? Error::Flash : error;
}

void OtaSeal::probe() {
  _fragments = BearSSL::WiFiClientSecure::probeMaxFragmentLength(_server, _port, PROBED);
  _step = Step::Firmware;
}

namespace {

struct Download {
  Request &request;
  Gate &gate;
  const Record &record;
  bool refused = false, stalled = false, writes = false;
  uint32_t begun = 0, since = 0;  // milliseconds: of the download, and of the last bytes
  size_t done = 0;

  // The headers are here, no byte is in flash yet.
  void start() {
    const String md5 = request.http.header("x-MD5");
    uint8_t announced[16];
    parseMd5(md5.c_str(), announced);
    gate.announce(announced);
    if constexpr (port::STOPS_BEFORE_WRITING) {
      refused = record.exhaustedTransfer(md5.c_str());
      if (refused) return request.client.stop();  // the core then finds no connection, and gives up
    }
    port::beforeWriting();
    writes = true;
    begun = since = uptime();
  }

  // The core calls this after every read, whether it brought anything or not. Ended from here, its loop has nothing left
  // to read.
  void progress(size_t written) {
    const uint32_t now = uptime();
    if (written != done) since = now;
    done = written;
    if (now - since < STALL && now - begun < LONGEST_DOWNLOAD) return;
    stalled = true;
    Update.end();
  }
};

}  // namespace

// All that the request takes is free again when this returns.
Error OtaSeal::fetch(bool &installed, int &detail) {
  Request request;
  if (!open(request, "firmware.bin.signed")) return Error::Memory;
  Download download = {request, _gate, _journal.record};
  Fetcher fetcher;
  fetcher.rebootOnUpdate(false);
  port::prepare(fetcher);
  fetcher.onStart([&download] { download.start(); });
  fetcher.onProgress([this, &download](int done, int total) {
    if (_progress != nullptr) _progress(static_cast<size_t>(done), static_cast<size_t>(total));
    if (done < total) download.progress(static_cast<size_t>(done));
  });
  _gate.reset();
  _gate.watch(&_journal);
  const HTTPUpdateResult outcome = fetcher.handleUpdate(request.http, String(FPSTR(_build.version)), false);
  _gate.watch(nullptr);
  installed = outcome == HTTP_UPDATE_OK && port::isStaged(_gate.hash.inspector);
  if (installed || outcome == HTTP_UPDATE_NO_UPDATES) return Error::None;
  if (download.writes) {
    Update.end();  // the core leaves it running where the server announces what is no MD5
    port::discardFailed();
  }
  if (outcome == HTTP_UPDATE_OK) return Error::Space;
  if (download.stalled) return Error::Truncated;
  return download.refused ? Error::Attempts : classify(request.client, fetcher.getLastError(), detail);
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
