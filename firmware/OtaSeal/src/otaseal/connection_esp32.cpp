// Connections on the ESP32: how one is set up, and how an update comes over it. The core's own HTTPUpdate verifies nothing
// and asks nobody, so this has a loop of its own.
#if defined(ARDUINO_ARCH_ESP32)

#include <OtaSeal.h>
#include <Update.h>

#include <memory>
#include <new>

#include "files.h"
#include "slot_update.h"

using namespace otaseal;

static constexpr uint32_t STALL = 30 * 1000;  // milliseconds without another sector of the image
static constexpr uint32_t SECTOR = 4096;

void OtaSeal::probe() {
  _fragments = true;  // there is room for whole TLS records: nothing to ask
  _step = Step::Firmware;
}

Error OtaSeal::open(Request &request, const char *file, int &detail) {
  const Error error = _tls.handshake(request.client, files::CERTIFICATES, {_server, _port, clock()}, detail);
  if (error == Error::None) address(request, file);
  return error;
}

Error OtaSeal::tryCertificates(const char *archive, const char *, int &detail) {
  TlsClient client;
  const Error error = _tls.handshake(client, archive, {_server, _port, clock()}, detail);
  client.stop();
  return error < Error::Tls ? error : Error::ArchiveLockout;
}

// The TLS connection stood: what HTTPClient says of it is that there was no answer.
Error OtaSeal::classify(TlsClient &, int code, int &detail) {
  detail = code;
  return Error::Connect;
}

static Error statusError(int code) {
  switch (code) {
    case HTTP_CODE_NOT_FOUND: return Error::NotFound;
    case HTTP_CODE_FORBIDDEN: return Error::Forbidden;
    case HTTP_CODE_UNAUTHORIZED: return Error::Unauthorized;
    default: return Error::Http;
  }
}

namespace {

// Reads a body, and says when it has stood still for too long, or taken too long.
class Body {
 public:
  Body(TlsClient &client, uint32_t size) : _client(client), _size(size), _begun(uptime()), _since(_begun) {}

  uint32_t done() const { return _done; }

  // Returns how many bytes there are now, at most `room`; 0 at the end and where it does not go on.
  size_t read(uint8_t *piece, size_t room) {
    while (_done < _size) {
      const uint32_t now = uptime(), left = _size - _done;
      if (now - _since >= STALL || now - _begun >= LONGEST_DOWNLOAD) return 0;
      const int got = _client.available() > 0 ? _client.read(piece, left < room ? left : room) : 0;
      if (got > 0) return count(static_cast<uint32_t>(got), now);
      if (!_client.connected()) return 0;
      delay(1);
    }
    return 0;
  }

 private:
  size_t count(uint32_t got, uint32_t now) {
    if (_done / SECTOR != (_done + got) / SECTOR) {
      _since = now;
      delay(1);  // on chips with one core nobody else runs, and the watchdog bites, while bytes come without a break
    }
    _done += got;
    return got;
  }

  TlsClient &_client;
  const uint32_t _size;
  uint32_t _done = 0;
  uint32_t _begun, _since;  // milliseconds: of the download, and of its last sector
};

}  // namespace

// The answer's headers are here, and nothing of it is in flash.
Error OtaSeal::receive(Request &request, int &detail) {
  const int length = request.http.getSize();
  const String md5 = request.http.header("x-MD5");
  uint8_t announced[16], piece[512];
  if (length <= 0) return Error::NoLength;
  if (!parseMd5(md5.c_str(), announced) && md5.length() > 0) return Error::Http;
  if (_journal.record.exhaustedTransfer(md5.c_str())) return Error::Attempts;
  _gate.announce(announced);
  const uint32_t size = static_cast<uint32_t>(length);
  std::unique_ptr<SlotUpdate> update(new (std::nothrow) SlotUpdate(_gate, size));
  if (update == nullptr) return Error::Memory;
  Body body(request.client, size);
  Error error = Error::None;
  if (_progress != nullptr) _progress(0, size);
  while (error == Error::None) {
    const size_t got = body.read(piece, sizeof piece);
    if (got == 0) break;
    error = update->add(piece, got);
    if (_progress != nullptr) _progress(body.done(), size);
  }
  if (error == Error::None) error = update->finish();
  if (update->detail() != 0) detail = update->detail();
  return error;
}

Error OtaSeal::fetch(bool &installed, int &detail) {
  const port::UpdateLock lock;
  if (!lock.held() || Update.isRunning()) return Error::Busy;
  Request request;
  request.updates = true;
  Error error = open(request, "firmware.bin.signed", detail);
  if (error != Error::None) return error;
  port::describe(request.http, _build.version);
  const int code = request.http.GET();
  if (code == HTTP_CODE_NOT_MODIFIED) return Error::None;
  if (code < 0) return classify(request.client, code, detail);
  if (code != HTTP_CODE_OK) {
    detail = code;
    return statusError(code);
  }
  _gate.reset();
  _gate.watch(&_journal);
  error = receive(request, detail);
  _gate.watch(nullptr);
  installed = error == Error::None;
  return error;
}

#endif
