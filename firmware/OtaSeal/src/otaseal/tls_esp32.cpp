#if defined(ARDUINO_ARCH_ESP32)

#include "tls_esp32.h"

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <string.h>
#include <time.h>

#include <new>

#include "archive_file.h"
#include "files.h"

namespace otaseal {
namespace {

constexpr int32_t CONNECT = 8000;        // milliseconds
constexpr unsigned long HANDSHAKE = 30;  // seconds
constexpr char DER = 0x30;               // what a file in DER begins with
constexpr uint32_t DATES = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;

bool isBefore(const mbedtls_x509_time &a, const mbedtls_x509_time &b) {
  const int left[] = {a.year, a.mon, a.day, a.hour, a.min, a.sec}, right[] = {b.year, b.mon, b.day, b.hour, b.min, b.sec};
  for (int i = 0; i < 6; i++) {
    if (left[i] != right[i]) return left[i] < right[i];
  }
  return false;
}

mbedtls_x509_time calendar(uint32_t seconds) {
  const time_t since = static_cast<time_t>(seconds);
  struct tm day = {};
  gmtime_r(&since, &day);
  return {1900 + day.tm_year, 1 + day.tm_mon, day.tm_mday, day.tm_hour, day.tm_min, day.tm_sec};
}

// Puts our clock in the place of mbedTLS's, whether that has one or not. An authority in /certs.ar is trusted whatever
// its dates are, as on the other chips.
int judge(void *context, mbedtls_x509_crt *certificate, int, uint32_t *flags) {
  auto *findings = static_cast<Findings *>(context);
  const mbedtls_x509_crt *anchor = findings->anchors;
  while (anchor != nullptr && anchor != certificate) anchor = anchor->next;
  *flags &= ~DATES;
  if (anchor == nullptr && isBefore(certificate->valid_to, findings->now)) *flags |= MBEDTLS_X509_BADCERT_EXPIRED;
  if (anchor == nullptr && isBefore(findings->now, certificate->valid_from)) *flags |= MBEDTLS_X509_BADCERT_FUTURE;
  findings->flags |= *flags;
  findings->looked = true;
  return 0;
}

Error meaning(int error) {
  switch (error) {
    case 0:
    case -1: return Error::Connect;  // the core's own: no address, no connection, no answer in time
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_X509_ALLOC_FAILED: return Error::Memory;
    default: return Error::Tls;
  }
}

Error meaning(uint32_t flags) {
  if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) return Error::ServerName;
  return flags & DATES ? Error::CertificateTime : Error::Untrusted;
}

Error readAnchors(const char *archive, PemText &anchors) {
  uint8_t hash[Sha256::SIZE];
  std::unique_ptr<ArchiveCheck> check(new (std::nothrow) ArchiveCheck);
  if (check == nullptr || !anchors.reserve(PemText::room(files::size(archive)))) return Error::Memory;
  check->decoder.pem = &anchors;
  return inspect(archive, hash, *check) > 0 ? Error::None : Error::BadCertificates;
}

// A file as text in PEM, or nullptr; `what` it is if it is in DER, which the core does not take.
std::unique_ptr<char[]> text(fs::File &file, const char *what) {
  const size_t size = file.size();
  std::unique_ptr<char[]> read(new (std::nothrow) char[size + 1]);
  if (read == nullptr || static_cast<size_t>(file.read(reinterpret_cast<uint8_t *>(read.get()), size)) != size) return nullptr;
  read[size] = 0;
  if (read[0] != DER) return read;
  PemText pem;
  const bool made = pem.reserve(PemText::room(size + PemText::LABELS)) && pem.add(reinterpret_cast<uint8_t *>(read.get()), size, what);
  return made ? pem.take() : nullptr;
}

bool isCertificate(const char *pem) {
  mbedtls_x509_crt chain;
  mbedtls_x509_crt_init(&chain);
  const int error = mbedtls_x509_crt_parse(&chain, reinterpret_cast<const unsigned char *>(pem), strlen(pem) + 1);
  mbedtls_x509_crt_free(&chain);
  return error == 0;
}

bool isPrivateKey(const char *pem) {
  mbedtls_pk_context key;
  mbedtls_pk_init(&key);
  const auto *bytes = reinterpret_cast<const unsigned char *>(pem);
#if MBEDTLS_VERSION_MAJOR >= 3
  const int error = mbedtls_pk_parse_key(&key, bytes, strlen(pem) + 1, nullptr, 0, noise, nullptr);
#else
  (void)noise;
  const int error = mbedtls_pk_parse_key(&key, bytes, strlen(pem) + 1, nullptr, 0);
#endif
  mbedtls_pk_free(&key);
  return error == 0;
}

}  // namespace

// The core sets up its configuration over what is there already, and this stays.
void TlsClient::watch(Findings *findings) {
  if (findings != nullptr) findings->anchors = &sslclient->ca_cert;
  mbedtls_ssl_conf_verify(&sslclient->ssl_conf, findings != nullptr ? judge : nullptr, findings);
}

bool Tls::identify(fs::File &certificate, fs::File &key) {
  _certificate = text(certificate, "CERTIFICATE");
  _key = text(key, "EC PRIVATE KEY");  // SEC1, as the library makes it
  if (_certificate && _key && isCertificate(_certificate.get()) && isPrivateKey(_key.get())) return true;
  dropIdentity();
  return false;
}

bool Tls::look(Validity &validity) const {
  const auto *pem = reinterpret_cast<const uint8_t *>(_certificate.get());
  return pem != nullptr && readCertificate(pem, strlen(_certificate.get()) + 1, nullptr, validity);
}

Error Tls::handshake(TlsClient &client, const char *archive, const Peer &peer, int &detail) const {
  PemText anchors;
  Findings findings = {nullptr, calendar(peer.now), 0, false};
  const Error error = readAnchors(archive, anchors);
  if (error != Error::None) return error;
  client.setCACert(anchors.text());
  client.setCertificate(_certificate.get());
  client.setPrivateKey(_key.get());
  client.setHandshakeTimeout(HANDSHAKE);
  client.watch(&findings);
  const bool connected = client.connect(peer.server, peer.port, CONNECT) != 0;
  client.watch(nullptr);
  client.setCACert(nullptr);  // the text goes now: without one, the client connects no more
  if (connected && findings.looked) return Error::None;
  client.stop();  // of a core that does not let us look, nothing is asked either
  char words[2];
  detail = findings.flags != 0 ? static_cast<int>(findings.flags) : client.lastError(words, sizeof words);
  if (connected) return Error::Tls;
  return findings.flags != 0 ? meaning(findings.flags) : meaning(detail);
}

}  // namespace otaseal

#endif
