// Connections where TLS is BearSSL's: how one is set up, and what went wrong with it.
#if !defined(ARDUINO_ARCH_ESP32)

#include <OtaSeal.h>

#include "buffers.h"
#include "files.h"

using namespace otaseal;

static constexpr int16_t OUT_OF_MEMORY = -1000;  // what the core's TLS client says in the place of BearSSL's number
static constexpr uint16_t PROBED = 512;  // a server that agrees to the shortest records agrees to all

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
  const Identity *own = _tls.own.get();
  if (own != nullptr && own->key.isEC()) {
    client.setClientECCert(&own->certificate, &own->key, BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN, BR_KEYTYPE_EC);
  } else if (own != nullptr) {
    client.setClientRSACert(&own->certificate, &own->key);
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
// The last one stands for all others.
Error meaning(const Meaning *table, int code) {
  for (;; table++) {
    Meaning one;
    memcpy_P(&one, table, sizeof one);
    if (one.code == code || one.code == 0) return one.error;
  }
}

}  // namespace

// `code`: HTTPClient's, which is negative.
Error OtaSeal::classify(TlsClient &client, int code, int &detail) {
  detail = code;
  const int tls = client.getLastSSLError();
  if (tls == 0) return Error::Connect;
  detail = tls;
  forgetSession();
  return meaning(TLS_MEANINGS, tls);
}

void OtaSeal::probe() {
  _fragments = TlsClient::probeMaxFragmentLength(_server, _port, PROBED);
  _step = Step::Firmware;
}

#endif
