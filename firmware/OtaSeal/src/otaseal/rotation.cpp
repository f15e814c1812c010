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
  if (renewed) return finish(Result::CertificatesRenewed, error, 0, true);
  // A firmware's error is worth more than one here, which comes again.
  if (error != Error::None && !_failed) return finish(Result::Failed, error, detail, true);
  plan();
}

Error OtaSeal::renewCertificates(int &detail, bool &renewed) {
  const port::UpdateLock lock;
  uint32_t size = 0, built = 0;
  uint8_t hash[sizeof _certificatesHash];
  if (!lock.held()) return Error::Busy;
  Error error = download(detail, size);
  if (error != Error::None || size == 0) return error;
  error = judgeDownload(size, built);
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

// Writes what the server offers to a file of its own; `size` stays 0 if that is nothing new.
Error OtaSeal::download(int &detail, uint32_t &size) {
  Request request;
  HTTPClient &http = request.http;
  Error error = open(request, "certs.ar.signed", detail);
  if (error != Error::None) return error;
  http.useHTTP10(true);
  http.setTimeout(TIMEOUT);
  const char *names[] = {"X-Otaseal-Proof", OFFERED};
  http.collectHeaders(names, 2);
  const int code = http.GET();
  takeVerdict(http.header(names[0]).c_str());
  if (_enrolment != nullptr) _enrolment(*this, &http);
  if (code < 0) {
    error = classify(request.client, code, detail);
  } else if (code == HTTP_CODE_OK) {
    error = store(http, files::CERTIFICATES_NEW, {SMALLEST, LARGEST}, size);
  } else if (code != HTTP_CODE_NOT_MODIFIED && code != HTTP_CODE_NOT_FOUND) {
    detail = code;
    error = Error::Http;
  }
  return error;
}

Error OtaSeal::store(HTTPClient &http, const char *path, Limits limits, uint32_t &size) {
  const int length = http.getSize();
  if (length <= 0) return Error::NoLength;
  if (static_cast<uint32_t>(length) < limits.smallest || static_cast<uint32_t>(length) > limits.largest) return Error::ArchiveSize;
  WiFiClient *stream = http.getStreamPtr();
  fs::File file = files::create(path);
  if (!file) return Error::ArchiveWrite;
  uint8_t piece[128];
  uint32_t left = static_cast<uint32_t>(length);
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
  size = static_cast<uint32_t>(length);
  return Error::None;
}

static bool take(fs::File &file, uint8_t *data, uint32_t size) { return static_cast<uint32_t>(file.read(data, size)) == size; }

// Judges the bytes as they can be read back, and cuts off what is not the archive.
Error OtaSeal::judgeDownload(uint32_t size, uint32_t &built) {
  fs::File file = files::openToTruncate(files::CERTIFICATES_NEW);
  uint8_t signature[MAX_SIGNATURE], piece[128];
  if (!file || file.size() != size || !file.seek(size - TRAILER) || !take(file, piece, TRAILER)) {
    return Error::ArchiveWrite;
  }
  const uint32_t length = piece[0] | piece[1] << 8 | piece[2] << 16 | static_cast<uint32_t>(piece[3]) << 24;
  if (length > MAX_SIGNATURE || (length != _gate.keyLength(false) && length != _gate.keyLength(true)) ||
      size < length + TRAILER + Manifest::SIZE) {
    return Error::Signature;
  }
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
