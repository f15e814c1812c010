// A certificate of the device's own: asked for over the air, or at the bench over a serial line. The key is made here and
// stays here. The next pair lies beside the one in use until it is good: the key as soon as something was asked for with
// it, then the certificate. After a power cut a new certificate without its key tells that the key is in place already.
#include <OtaSeal.h>

#include <memory>
#include <new>

#include "csr.h"
#include "ec_key.h"
#include "files.h"

using namespace otaseal;

static constexpr uint32_t SMALLEST = 200, LARGEST = 1536;  // bytes of a certificate
static constexpr size_t LINE = 1201;                       // characters, with a carriage return
static constexpr uint32_t BENCH = 60 * 1000 - 1;  // milliseconds that no poll comes between a device and its bench

static constexpr char CAPABILITIES[] = "1 proof enroll";

// Whether that is among the words of a server.
static bool offersEnrolment(const char *words) {
  const char *word = CAPABILITIES + sizeof "1 proof" - 1;  // with the blank before it
  const size_t size = strlen(word);
  while ((words = strstr(words, word)) != nullptr) {
    words += size;
    if (*words == 0 || *words == ' ') return true;
  }
  return false;
}

void OtaSeal::claim(const char *code) {
  _claim = code;
  capabilities = CAPABILITIES;
  _enrolment = [](OtaSeal &updates, HTTPClient *answer) {
    if (answer != nullptr) {
      updates._offered = offersEnrolment(answer->header(OFFERED).c_str());
    } else if (updates._ready) {
      updates.pollEnrolment();
    } else {
      updates.settleIdentity();
    }
  };
}

// Ends what a power cut interrupted. Returns whether it was the move of a new pair.
bool OtaSeal::settleIdentity() {
  if (!files::exists(files::CLIENT_CERTIFICATE_NEW)) return false;
  if (!files::exists(files::CLIENT_KEY_NEW)) return files::rename(files::CLIENT_CERTIFICATE_NEW, files::CLIENT_CERTIFICATE);
  files::discard(files::CLIENT_CERTIFICATE_NEW);  // nobody has tried it yet
  return false;
}

// Takes the key that something was asked for with, or makes one.
static Error nextKey(EcKey &key) {
  if (key.load(files::CLIENT_KEY_NEW)) return Error::None;
  if (!key.make()) return Error::Memory;
  return key.save(files::CLIENT_KEY_NEW) ? Error::None : Error::ArchiveWrite;
}

static Error makeRequest(const char *name, char *text) {
  EcKey key;
  uint8_t der[CSR_LIMIT];
  const Error error = nextKey(key);
  if (error != Error::None) return error;
  const size_t size = makeCsr(key, name, der);
  encodeBase64(der, size, text);
  return size > 0 ? Error::None : Error::Memory;
}

// Judges the certificate as it can be read back.
static Error judgeCertificate() {
  EcKey key;
  Validity validity;
  const size_t size = files::size(files::CLIENT_CERTIFICATE_NEW);
  std::unique_ptr<uint8_t[]> der(new (std::nothrow) uint8_t[size]);
  if (der == nullptr) return Error::Memory;
  const bool fits = files::read(files::CLIENT_CERTIFICATE_NEW, der.get(), size) == size && key.load(files::CLIENT_KEY_NEW) &&
                    readCertificate(der.get(), size, key.point(), validity);
  return fits ? Error::None : Error::CertificateKey;
}

// The new pair takes the place of the old one.
Error OtaSeal::moveIdentity() {
  if (!files::rename(files::CLIENT_KEY_NEW, files::CLIENT_KEY) || !settleIdentity()) return Error::ArchiveWrite;
  _tls.dropIdentity();
  forgetSession();
  return openIdentity(files::CLIENT_CERTIFICATE, files::CLIENT_KEY) ? Error::None : Error::ClientCertificate;
}

void OtaSeal::pollEnrolment() {
  int detail = 0;
  bool enrolled = false;
  const Error error = wantsCertificate() ? askForCertificate(detail, enrolled) : Error::None;
  settleIdentity();
  conclude(enrolled ? Result::Enrolled : Result::Failed, error, detail);
}

// Where it has one: in the last third of its time.
bool OtaSeal::wantsCertificate() const {
  Validity own;
  if (!_offered) return false;
  return !_tls.look(own) || clock() > own.to - (own.to - own.from) / 3;
}

Error OtaSeal::askForCertificate(int &detail, bool &enrolled) {
  settleIdentity();
  Error error = downloadCertificate(detail);
  if (error != Error::None || !files::exists(files::CLIENT_CERTIFICATE_NEW)) return error;
  error = judgeCertificate();
  if (error == Error::None) error = tryIdentity(detail);
  if (error != Error::None) return error;
  enrolled = true;
  return moveIdentity();
}

// Asks for a certificate and writes it beside the old one, where there is one by now.
Error OtaSeal::downloadCertificate(int &detail) {
  char text[base64Size(CSR_LIMIT) + 1], name[NAME + 1];
  deviceName(name);
  Error error = makeRequest(name, text);
  if (error != Error::None) return error;
  Request request;
  error = open(request, "client.crt", detail);
  if (error != Error::None) return error;
  addHeader(request.http, OURS, PSTR("Csr"), text);
  if (_claim != nullptr) addHeader(request.http, OURS, PSTR("Claim"), _claim);
  error = get(request, files::CLIENT_CERTIFICATE_NEW, {SMALLEST, LARGEST}, detail);
  if (error != Error::Http) return error;
  if (detail == HTTP_CODE_ACCEPTED) return Error::None;  // not yet
  if (detail != HTTP_CODE_FORBIDDEN) return error;
  return _claim != nullptr ? Error::Claim : Error::None;  // who never got a code is not refused anything
}

// A whole handshake with the new pair: a server that does not take it now would lock the device out.
Error OtaSeal::tryIdentity(int &detail) {
  const bool opened = openIdentity(files::CLIENT_CERTIFICATE_NEW, files::CLIENT_KEY_NEW);
  const Error error = opened ? tryCertificates(files::CERTIFICATES, files::CERTIFICATES_NEW_INDEX, detail) : Error::CertificateKey;
  files::discard(files::CERTIFICATES_NEW_INDEX);
  if (error == Error::None) return error;
  _tls.dropIdentity();
  openIdentity(files::CLIENT_CERTIFICATE, files::CLIENT_KEY);
  return error;
}

// The bench's half of this is `otaseal pki enroll --port`.
void OtaSeal::enroll(Stream &stream) {
  if (!_settled && _ready) {
    _settled = true;
    if (settleIdentity()) openIdentity(files::CLIENT_CERTIFICATE, files::CLIENT_KEY);
  }
  if (stream.available() <= 0) return;
  std::unique_ptr<char[]> line(new (std::nothrow) char[LINE + 1]);
  if (line == nullptr) return;
  do {
    size_t size = stream.readBytesUntil('\n', line.get(), LINE);
    if (size > 0 && line[size - 1] == '\r') size--;
    line[size] = 0;
  } while (strncmp_P(line.get(), PSTR("otaseal "), 8) == 0 && answer(stream, line.get() + 8));
}

// Whether the device has that certificate already: it comes again where the answer was lost.
static bool isInPlace(const char *der, size_t size) {
  std::unique_ptr<char[]> own(new (std::nothrow) char[size]);
  if (own == nullptr || size == 0) return false;
  return files::read(files::CLIENT_CERTIFICATE, own.get(), size) == size && memcmp(own.get(), der, size) == 0;
}

Error OtaSeal::takeCertificate(char *text) {
  const size_t size = decodeBase64(text);
  if (isInPlace(text, size)) return Error::None;
  if (!files::exists(files::CLIENT_KEY_NEW)) return Error::CertificateKey;  // it would pass for one whose key was moved
  if (!files::replace(files::CLIENT_CERTIFICATE_NEW, text, size)) return Error::ArchiveWrite;
  const Error error = judgeCertificate();
  if (error == Error::None) return moveIdentity();
  files::discard(files::CLIENT_CERTIFICATE_NEW);
  return error;
}

// Returns whether the next line has to be read at once: the certificate is longer than what a core keeps meanwhile (F101).
bool OtaSeal::answer(Stream &stream, char *words) {
  Error error = Error::Setup;  // no begin(), or it failed
  if (!_ready) {
    if (_error != Error::None) error = _error;
  } else if (strcmp_P(words, PSTR("hello")) == 0) {
    error = introduce(stream);
    if (error == Error::None) return true;
  } else if (strncmp_P(words, PSTR("certificate "), 12) == 0) {
    error = takeCertificate(words + 12);
  } else {
    return false;
  }
  stream.print(error == Error::None ? F("otaseal ok") : F("otaseal error "));
  if (error != Error::None) stream.print(static_cast<int>(error));
  stream.print('\n');
  return false;
}

Error OtaSeal::introduce(Stream &stream) {
  char request[base64Size(CSR_LIMIT) + 1], name[NAME + 1], keyText[2 * HASH + 1];
  uint8_t key[HASH];
  settleIdentity();
  deviceName(name);
  const Error error = makeRequest(name, request);
  if (error != Error::None) return error;
  if (!proofKey(name, key)) return Error::ArchiveWrite;
  hex(key, HASH, keyText);
  _schedule.start(uptime(), BENCH);
  stream.print(F("otaseal device "));
  stream.print(name);
  stream.print(' ');
  stream.print(keyText);
  stream.print(' ');
  stream.print(request);
  stream.print('\n');
  return Error::None;
}
