// Another /certs.ar over the air. Never a filesystem update: that would write over the certificates before anything is
// verified. The download lies beside them, and is renamed over them when all of this is right, in this order: it came over
// a verified connection; one of our keys signed it; it is for this product and not older; the certificate store can live
// with it; and the server would still be trusted with it. Up to the rename the old archive is in use.
#include <OtaSeal.h>

#include "files.h"
#include "archive_file.h"

using namespace otaseal;

static constexpr uint32_t TRAILER = 4, MAX_SIGNATURE = 512;
static constexpr uint32_t SMALLEST = 8 + 60 + Manifest::SIZE + TRAILER + 256;
static constexpr uint32_t LARGEST = ArchiveCheck::LIMIT + Manifest::SIZE + TRAILER + MAX_SIGNATURE;

void OtaSeal::pollCertificates() {
  int detail = 0;
  bool renewed = false;
  const Error error = renewCertificates(detail, renewed);
  files::discard(files::CERTIFICATES_NEW);
  files::discard(files::CERTIFICATES_NEW_INDEX);
  conclude(renewed ? Result::CertificatesRenewed : Result::Failed, error, detail);
}

Error OtaSeal::renewCertificates(int &detail, bool &renewed) {
  const port::UpdateLock lock;
  uint32_t built = 0;
  uint8_t hash[sizeof _certificatesHash];
  if (!lock.held()) return Error::Busy;
  Error error = download(detail);
  if (error != Error::None || !files::exists(files::CERTIFICATES_NEW)) return error;
  error = judgeDownload(built);
  if (error != Error::None) return error;
  if (inspect(files::CERTIFICATES_NEW, hash) == 0) return Error::ArchiveStructure;
  error = tryCertificates(files::CERTIFICATES_NEW, files::CERTIFICATES_NEW_INDEX, detail);
  if (error != Error::None) return error;
  _journal.record.certificates = built;  // first: if the power fails now, the same archive may come again, no older one
  if (!_journal.save() || !files::rename(files::CERTIFICATES_NEW, files::CERTIFICATES)) return Error::ArchiveWrite;
  renewed = true;
  error = openStore();
  if (error != Error::None) _ready = false;
  return error;
}

// Writes what the server offers to a file of its own; there is none if that is nothing new.
Error OtaSeal::download(int &detail) {
  Request request;
  HTTPClient &http = request.http;
  Error error = open(request, "certs.ar.signed", detail);
  if (error != Error::None) return error;
  const char *names[] = {"X-Otaseal-Proof", OFFERED};
  http.collectHeaders(names, 2);
  error = get(request, files::CERTIFICATES_NEW, {SMALLEST, LARGEST}, detail);
  takeVerdict(http.header(names[0]).c_str());
  if (_enrolment != nullptr) _enrolment(*this, &http);
  return error;
}

static Error store(HTTPClient &http, const char *path, Limits limits) {
  const int length = http.getSize();
  if (length <= 0) return Error::NoLength;
  uint32_t left = static_cast<uint32_t>(length);
  if (left < limits.smallest || left > limits.largest) return Error::ArchiveSize;
  WiFiClient *stream = http.getStreamPtr();
  fs::File file = files::create(path);
  if (!file) return Error::ArchiveWrite;
  uint8_t piece[128];
  const uint32_t begun = uptime();
  if (stream != nullptr) port::patience(*stream, TIMEOUT);
  while (stream != nullptr && left > 0 && uptime() - begun < LONGEST_DOWNLOAD) {
    const size_t got = stream->readBytes(piece, left < sizeof piece ? left : sizeof piece);
    if (got == 0) break;
    if (file.write(piece, got) != got) return Error::ArchiveWrite;
    left -= got;
  }
  file.close();
  if (left > 0) return Error::Truncated;
  // Neither write() nor close() says whether all of it found room.
  return files::size(path) == static_cast<uint32_t>(length) ? Error::None : Error::ArchiveWrite;
}

Error OtaSeal::get(Request &request, const char *path, Limits limits, int &detail) {
  HTTPClient &http = request.http;
  const int code = http.GET();
  if (code < 0) return classify(request.client, code, detail);
  if (code == HTTP_CODE_NOT_MODIFIED || code == HTTP_CODE_NOT_FOUND) return Error::None;
  if (code != HTTP_CODE_OK) {
    detail = code;
    return Error::Http;
  }
  return store(http, path, limits);
}

static bool take(fs::File &file, void *data, uint32_t size) {
  return static_cast<uint32_t>(file.read(static_cast<uint8_t *>(data), size)) == size;
}

// Judges the bytes as they can be read back, and cuts off what is not the archive.
Error OtaSeal::judgeDownload(uint32_t &built) {
  fs::File file = files::openToTruncate(files::CERTIFICATES_NEW);
  uint8_t signature[MAX_SIGNATURE], piece[128];
  const uint32_t size = file.size();
  uint32_t length = 0;  // little-endian, as chips and hosts are
  if (!file.seek(size - TRAILER) || !take(file, &length, TRAILER)) return Error::ArchiveWrite;
  if (length > MAX_SIGNATURE || size < length + TRAILER + Manifest::SIZE) return Error::Signature;
  const uint32_t end = size - TRAILER - length;
  file.seek(0);
  _gate.hash.begin();
  for (uint32_t at = 0; at < end;) {
    const uint32_t wanted = end - at < sizeof piece ? end - at : sizeof piece;
    if (!take(file, piece, wanted)) return Error::ArchiveWrite;
    _gate.hash.add(piece, wanted);
    at += wanted;
  }
  _gate.hash.end();
  if (!take(file, signature, length)) return Error::ArchiveWrite;
  Manifest manifest;
  const Error error = _gate.verdict(_gate.hash, Kind::Certificates, signature, length, manifest);
  if (error != Error::None) return error;
  built = manifest.buildTime();
  if (built < _journal.record.certificates) return Error::ArchiveOlder;
  const bool cut = files::truncate(file, files::CERTIFICATES_NEW, end - Manifest::SIZE);
  return cut ? Error::None : Error::ArchiveWrite;
}
