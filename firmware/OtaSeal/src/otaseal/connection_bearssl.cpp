// Connections where TLS is BearSSL's: how one is set up, how an update comes over it, and what went wrong with it.
#if !defined(ARDUINO_ARCH_ESP32)

#include <OtaSeal.h>

#include "buffers.h"
#include "files.h"

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

// Tries it: not every core tells its largest block, and the ESP8266's brings 2 KB of printed statistics along.
static bool oneBlock(uint32_t size) {
  void *volatile block = malloc(size);
  free(block);
  return block != nullptr;
}

bool OtaSeal::configure(TlsClient &client, BearSSL::CertStore &store) {
  const Buffers buffers = planBuffers(_fragments, port::freeHeap(), oneBlock);
  if (buffers.receive == 0) return false;
  client.setBufferSizes(buffers.receive, buffers.send);
  client.setSSLVersion(BR_TLS12, BR_TLS12);
  client.setCertStore(&store);
  client.setX509Time(clock());
  if (_tls.key != nullptr && _tls.key->isEC()) {
    client.setClientECCert(_tls.certificate.get(), _tls.key.get(), BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN, BR_KEYTYPE_EC);
  } else if (_tls.key != nullptr) {
    client.setClientRSACert(_tls.certificate.get(), _tls.key.get());
  }
  return true;
}

// The connection itself is made by the first request.
Error OtaSeal::open(Request &request, const char *file, int &) {
  if (!configure(request.client, _tls.store)) return Error::Memory;
  request.client.setSession(&_tls.session);
  address(request, file);
  return Error::None;
}

// A whole handshake with a new archive: what it cannot verify now, it could not verify afterwards either.
Error OtaSeal::tryCertificates(const char *archive, const char *index, int &detail) {
  BearSSL::CertStore trial;
  if (trial.initCertStore(files::system(), index, archive) <= 0) return Error::ArchiveStructure;
  Request request;  // of which only the connection is used
  if (!configure(request.client, trial)) return Error::Memory;
  if (request.client.connect(_server, _port)) return Error::None;
  const Error error = classify(request.client, HTTPC_ERROR_CONNECTION_FAILED, detail);
  return error < Error::Tls ? error : Error::ArchiveLockout;
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
Error OtaSeal::classify(TlsClient &client, int code, int &detail) {
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
  _fragments = TlsClient::probeMaxFragmentLength(_server, _port, PROBED);
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
  request.updates = true;
  const Error opened = open(request, "firmware.bin.signed", detail);
  if (opened != Error::None) return opened;
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

#endif
