// Keys, certificates and connections: BearSSL does the work, this is what the core puts around it.
#include <ESP8266WiFi.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <list>
#include <string>
#include <vector>

#include "chip.h"
#include "device.h"
#include "disk.h"

#undef time

namespace BearSSL {
namespace {

using Bytes = std::vector<unsigned char>;

constexpr int OVERHEAD_IN = 325, OVERHEAD_OUT = 85, SECONDS = 60;
constexpr uint32_t DAYS_BEFORE_1970 = 719528;  // BearSSL counts from the year 0

void append(void *context, const void *data, size_t size) {
  auto *bytes = static_cast<Bytes *>(context);
  const auto *from = static_cast<const unsigned char *>(data);
  bytes->insert(bytes->end(), from, from + size);
}

// The objects of a PEM text; what is no PEM is one object.
std::vector<Bytes> objects(const Bytes &text) {
  static const char begins[] = "-----BEGIN";
  std::vector<Bytes> found;
  if (text.size() < sizeof begins || memcmp(text.data(), begins, sizeof begins - 1) != 0) return {text};
  br_pem_decoder_context decoder;
  br_pem_decoder_init(&decoder);
  for (size_t at = 0; at < text.size();) {
    at += br_pem_decoder_push(&decoder, text.data() + at, text.size() - at);
    switch (br_pem_decoder_event(&decoder)) {
      case BR_PEM_BEGIN_OBJ:
        found.emplace_back();
        br_pem_decoder_setdest(&decoder, append, &found.back());
        break;
      case BR_PEM_ERROR: return {};
      default: break;
    }
  }
  return found;
}

Bytes load(Stream &stream, size_t size) {
  Bytes bytes(size);
  bytes.resize(stream.readBytes(bytes.data(), size));
  return bytes;
}

// Steps into the DER element at `at`, or over it, and returns its content.
Bytes element(const Bytes &der, size_t &at, unsigned char tag) {
  if (at + 2 > der.size() || der[at] != tag) return {};
  size_t length = der[at + 1], header = 2;
  if (length & 0x80) {
    const size_t count = length & 0x7f;
    length = 0;
    for (size_t i = 0; i < count && at + 2 + i < der.size(); i++) length = length << 8 | der[at + 2 + i];
    header += count;
  }
  if (header + length > der.size() - at) return {};
  const auto from = der.begin() + static_cast<long>(at + header);
  at += header + length;
  return {from, from + static_cast<long>(length)};
}

}  // namespace

struct PublicKey::Parsed {
  Bytes n, e;
  br_rsa_public_key rsa;
};

bool PublicKey::parse(const char *pem) {
  const std::vector<Bytes> all = objects(Bytes(pem, pem + strlen(pem)));
  size_t outer = 0, inner = 0, bits = 0, numbers = 0;
  if (all.size() != 1) return false;
  const Bytes spki = element(all[0], outer, 0x30);
  element(spki, inner, 0x30);
  Bytes key = element(spki, inner, 0x03);
  if (key.empty()) return false;
  key.erase(key.begin());  // the number of unused bits
  const Bytes pair = element(key, bits, 0x30);
  _parsed = Shared<Parsed>(new Parsed{element(pair, numbers, 0x02), element(pair, numbers, 0x02), {}});
  Bytes &n = _parsed->n, &e = _parsed->e;
  while (!n.empty() && n[0] == 0) n.erase(n.begin());
  _parsed->rsa = {n.data(), n.size(), e.data(), e.size()};
  return true;
}

bool PublicKey::isRSA() const { return _parsed && _parsed->rsa.nlen > 0; }
const br_rsa_public_key *PublicKey::getRSA() const { return &_parsed->rsa; }

struct PrivateKey::Parsed {
  br_skey_decoder_context decoder;
};

PrivateKey::PrivateKey(Stream &stream, size_t size) : _parsed(new Parsed) {
  br_skey_decoder_init(&_parsed->decoder);
  for (const Bytes &der : objects(load(stream, size))) {
    br_skey_decoder_push(&_parsed->decoder, der.data(), der.size());
  }
}

bool PrivateKey::isRSA() const { return br_skey_decoder_key_type(&_parsed->decoder) == BR_KEYTYPE_RSA; }
bool PrivateKey::isEC() const { return br_skey_decoder_key_type(&_parsed->decoder) == BR_KEYTYPE_EC; }
const br_rsa_private_key *PrivateKey::getRSA() const { return br_skey_decoder_get_rsa(&_parsed->decoder); }
const br_ec_private_key *PrivateKey::getEC() const { return br_skey_decoder_get_ec(&_parsed->decoder); }

struct X509List::Parsed {
  std::vector<Bytes> data;
  std::vector<br_x509_certificate> certificates;
};

X509List::X509List(Stream &stream, size_t size) : _parsed(new Parsed) {
  _parsed->data = objects(load(stream, size));
  for (Bytes &der : _parsed->data) {
    br_x509_decoder_context decoder;
    br_x509_decoder_init(&decoder, nullptr, nullptr);
    br_x509_decoder_push(&decoder, der.data(), der.size());
    if (br_x509_decoder_get_pkey(&decoder) != nullptr) _parsed->certificates.push_back({der.data(), der.size()});
  }
}

size_t X509List::getCount() const { return _parsed->certificates.size(); }
const br_x509_certificate *X509List::getX509Certs() const { return _parsed->certificates.data(); }

void HashSHA256::begin() { br_sha256_init(&_context); }
void HashSHA256::add(const void *data, uint32_t size) { br_sha256_update(&_context, data, size); }
void HashSHA256::end() { br_sha256_out(&_context, _digest); }
int HashSHA256::len() { return sizeof _digest; }
const void *HashSHA256::hash() { return _digest; }
const unsigned char *HashSHA256::oid() { return BR_HASH_OID_SHA256; }

uint32_t SigningVerifier::length() { return static_cast<uint32_t>(_key->getRSA()->nlen); }

bool SigningVerifier::verify(UpdaterHashClass *hash, const void *signature, uint32_t size) {
  unsigned char opened[32];
  return signature != nullptr && size == length() &&
         br_rsa_pkcs1_vrfy_get_default()(static_cast<const unsigned char *>(signature), size, hash->oid(), sizeof opened,
                                         _key->getRSA(), opened) &&
         memcmp(opened, hash->hash(), sizeof opened) == 0;
}

struct CertStore::Anchors {
  std::string archive;
  std::list<br_x509_decoder_context> decoders;
  std::list<Bytes> names;
  std::vector<br_x509_trust_anchor> list;

  void read();
};

// The index takes 40 bytes a certificate, and is written anew each time.
int CertStore::initCertStore(fs::FS &fs, const char *index, const char *archive) {
  _anchors = Shared<Anchors>(new Anchors);
  _anchors->archive = archive;
  fs::File out = fs.open(index, "w");
  if (!out) return 0;
  if (fs.exists(archive)) _anchors->read();
  const uint8_t entry[40] = {};
  for (size_t i = 0; i < _anchors->list.size(); i++) out.write(entry, sizeof entry);
  out.close();
  return static_cast<int>(_anchors->list.size());
}

// Reads them as they stand in the archive now.
void CertStore::Anchors::read() {
  const std::string &bytes = disk.files[archive];
  decoders.clear();
  names.clear();
  list.clear();
  for (size_t at = 8; at + 60 <= bytes.size();) {
    const size_t size = static_cast<size_t>(atol(bytes.substr(at + 48, 10).c_str()));
    at += 60;
    if (size == 0 || size > bytes.size() - at) break;
    decoders.emplace_back();
    names.emplace_back();
    br_x509_decoder_init(&decoders.back(), append, &names.back());
    br_x509_decoder_push(&decoders.back(), bytes.data() + at, size);
    const br_x509_pkey *key = br_x509_decoder_get_pkey(&decoders.back());
    if (key == nullptr) abort();  // where the chip crashes (F18b)
    br_x509_trust_anchor anchor = {};
    anchor.dn = {names.back().data(), names.back().size()};
    anchor.flags = br_x509_decoder_isCA(&decoders.back()) ? BR_X509_TA_CA : 0;
    anchor.pkey = *key;
    list.push_back(anchor);
    at += size + (size & 1);
  }
}

void CertStore::installCertStore(br_x509_minimal_context *context) {
  if (!_anchors) return;
  _anchors->read();
  context->trust_anchors = _anchors->list.data();
  context->trust_anchors_num = _anchors->list.size();
}

struct WiFiClientSecure::Context {
  br_ssl_client_context client;
  br_x509_minimal_context x509;
  br_sslio_context io;
  Bytes in = Bytes(16384 + OVERHEAD_IN), out = Bytes(512 + OVERHEAD_OUT);
  Session *session = nullptr;
  CertStoreBase *store = nullptr;
  const X509List *chain = nullptr;
  const PrivateKey *key = nullptr;
  time_t now = 0;
  uint32_t least = BR_TLS10, most = BR_TLS12;
  Bytes hello;  // the first bytes that came
  int fd = -1, error = 0, peeked = -1;
  size_t at = 0;  // in a canned answer
  bool done = false;

  ~Context() { hangUp(); }
  void hangUp() {
    if (fd >= 0) close(fd);
    if (fd >= 0 && chip.silent()) chip.silentAfter = 0;
    fd = -1;
    done = false;
    peeked = -1;
  }
};

static int receive(void *context, unsigned char *data, size_t size) {
  auto *c = static_cast<WiFiClientSecure::Context *>(context);
  const ssize_t got = recv(c->fd, data, size, 0);
  if (got > 0 && c->hello.size() < 512) c->hello.insert(c->hello.end(), data, data + got);
  return got > 0 ? static_cast<int>(got) : -1;
}

// Whether the ServerHello that these bytes begin with agrees to a maximum fragment length (RFC 6066).
static bool agreesToFragments(const Bytes &hello) {
  const auto word = [&hello](size_t at) -> size_t { return at + 2 <= hello.size() ? hello[at] << 8 | hello[at + 1] : 0; };
  const size_t session = 5 + 4 + 2 + 32;  // record, handshake, version, random
  if (hello.size() < session + 1 || hello[0] != 22 || hello[5] != 2) return false;
  size_t at = session + 1 + hello[session] + 2 + 1;
  const size_t end = at + 2 + word(at);
  for (at += 2; at + 4 <= end; at += 4 + word(at + 2)) {
    if (word(at) == 1) return true;
  }
  return false;
}

static int transmit(void *context, const unsigned char *data, size_t size) {
  const ssize_t sent = send(static_cast<WiFiClientSecure::Context *>(context)->fd, data, size, MSG_NOSIGNAL);
  return sent > 0 ? static_cast<int>(sent) : -1;
}

static int dial(uint16_t port) {
  sockaddr_in address = {}, own = {};
  const timeval limit = {SECONDS, 0};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  own.sin_family = AF_INET;
  inet_pton(AF_INET, chip.address.c_str(), &own.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, reinterpret_cast<sockaddr *>(&own), sizeof own) != 0) perror("bind");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

WiFiClientSecure::WiFiClientSecure() : _context(new Context) {}
WiFiClient *WiFiClientSecure::clone() const { return new WiFiClientSecure(*this); }
void WiFiClientSecure::setSession(Session *session) { _context->session = session; }
void WiFiClientSecure::setX509Time(time_t now) { _context->now = now; }
void WiFiClientSecure::setCertStore(CertStoreBase *store) { _context->store = store; }
int WiFiClientSecure::getLastSSLError(char *, size_t) { return _context->error; }

void WiFiClientSecure::setBufferSizes(int receive, int send) {
  _context->in.resize(static_cast<size_t>(receive + OVERHEAD_IN));
  _context->out.resize(static_cast<size_t>(send + OVERHEAD_OUT));
}

bool WiFiClientSecure::setSSLVersion(uint32_t least, uint32_t most) {
  _context->least = least;
  _context->most = most;
  return true;
}

void WiFiClientSecure::setClientECCert(const X509List *chain, const PrivateKey *key, unsigned, unsigned) {
  _context->chain = chain;
  _context->key = key;
}

void WiFiClientSecure::setClientRSACert(const X509List *chain, const PrivateKey *key) {
  _context->chain = chain;
  _context->key = key;
}

int WiFiClientSecure::connect(IPAddress address, uint16_t port) { return connect(address.toString().c_str(), port); }
int WiFiClientSecure::connect(const String &host, uint16_t port) { return connect(host.c_str(), port); }

int WiFiClientSecure::connect(const char *host, uint16_t port) {
  Context &c = *_context;
  c.hangUp();
  c.error = 0;
  c.hello.clear();
  if (canned.used) {
    c.at = 0;
    return c.done = true;
  }
  c.fd = chip.online ? dial(port) : -1;
  if (c.fd < 0) return 0;
  br_ssl_client_init_full(&c.client, &c.x509, nullptr, 0);
  if (c.store) c.store->installCertStore(&c.x509);
  const auto now = static_cast<uint32_t>(c.now ? c.now : chip_time(nullptr));
  br_x509_minimal_set_time(&c.x509, now / 86400 + DAYS_BEFORE_1970, now % 86400);
  br_ssl_engine_set_versions(&c.client.eng, static_cast<uint16_t>(c.least), static_cast<uint16_t>(c.most));
  br_ssl_engine_set_buffers_bidi(&c.client.eng, c.in.data(), c.in.size(), c.out.data(), c.out.size());
  if (c.key && c.key->isEC()) {
    br_ssl_client_set_single_ec(&c.client, c.chain->getX509Certs(), c.chain->getCount(), c.key->getEC(),
                                BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN, BR_KEYTYPE_EC, br_ec_get_default(),
                                br_ecdsa_sign_asn1_get_default());
  } else if (c.key) {
    br_ssl_client_set_single_rsa(&c.client, c.chain->getX509Certs(), c.chain->getCount(), c.key->getRSA(),
                                 br_rsa_pkcs1_sign_get_default());
  }
  if (c.session) br_ssl_engine_set_session_parameters(&c.client.eng, c.session->getSession());
  br_ssl_client_reset(&c.client, host, c.session != nullptr);
  br_sslio_init(&c.io, &c.client.eng, receive, &c, transmit, &c);
  br_sslio_flush(&c.io);  // the first flush runs the handshake
  chip.buffers.push_back(static_cast<uint16_t>(c.in.size() - OVERHEAD_IN));
  c.done = (br_ssl_engine_current_state(&c.client.eng) & BR_SSL_CLOSED) == 0;
  c.error = br_ssl_engine_last_error(&c.client.eng);
  if (c.done && c.session && c.session->getSession()->session_id_len > 0 &&
      memcmp(c.session->getSession()->session_id, c.client.eng.session.session_id, 32) == 0) {
    chip.resumed++;
  }
  return c.done;
}

// Reads one byte ahead, if there is one.
bool WiFiClientSecure::fill() {
  unsigned char byte;
  if (canned.used && _context->done && _context->peeked < 0 && _context->at < canned.body.size() - canned.from) {
    _context->peeked = static_cast<unsigned char>(canned.body[canned.from + _context->at++]);
  }
  if (canned.used) return _context->done && _context->peeked >= 0;
  if (_context->fd < 0 || !_context->done || chip.silent()) return false;
  if (_context->peeked < 0 && br_sslio_read(&_context->io, &byte, 1) == 1) _context->peeked = byte;
  return _context->peeked >= 0;
}

uint8_t WiFiClientSecure::connected() { return fill() || (_context->done && chip.silent()); }
int WiFiClientSecure::available() { return fill(); }
int WiFiClientSecure::peek() { return fill() ? _context->peeked : -1; }

int WiFiClientSecure::read() {
  if (!fill()) return -1;
  const int byte = _context->peeked;
  _context->peeked = -1;
  chip.take(1);
  return byte;
}

size_t WiFiClientSecure::readBytes(char *buffer, size_t size) {
  size_t got = 0;
  if (chip.pace != 0) {
    chip.milliseconds += chip.pace;
    size = 1;
  }
  for (int byte; got < size && (byte = read()) >= 0;) {
    buffer[got++] = static_cast<char>(byte);
    if (got < size && _context->done && !canned.used) {
      const int more = br_sslio_read(&_context->io, buffer + got, size - got);
      if (more <= 0) break;
      got += static_cast<size_t>(more);
      chip.take(more);
    }
  }
  return got;
}

size_t WiFiClientSecure::write(const uint8_t *data, size_t size) {
  if (!_context->done || br_sslio_write_all(&_context->io, data, size) != 0) return 0;
  return br_sslio_flush(&_context->io) == 0 ? size : 0;
}

void WiFiClientSecure::stop() {
  Context &c = *_context;
  if (c.done && c.session && !canned.used) br_ssl_engine_get_session_parameters(&c.client.eng, c.session->getSession());
  c.hangUp();
}

// A connection of its own that is dropped (F27c): the answer is in the server's first message.
bool WiFiClientSecure::probeMaxFragmentLength(const char *host, uint16_t port, uint16_t length) {
  if (canned.used) return true;
  WiFiClientSecure probe;
  probe.setBufferSizes(length, length);
  chip.probes++;
  probe._context->now = 1;
  probe.connect(host, port);
  chip.buffers.clear();
  return agreesToFragments(probe._context->hello);
}

}  // namespace BearSSL
