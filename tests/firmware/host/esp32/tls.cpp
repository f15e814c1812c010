// The TLS client: mbedTLS does the work, this is what the core puts around it (F81).
#include <WiFiClientSecure.h>

#include <arpa/inet.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/version.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chip.h"
#include "device.h"

namespace {

constexpr uint32_t READ_TIMEOUT = 60 * 1000;  // milliseconds: more than any test needs

const unsigned char *bytes(const char *text) { return reinterpret_cast<const unsigned char *>(text); }

int dial(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

}  // namespace

struct WiFiClientSecure::Context : sslclient_context {
  mbedtls_net_context net = {-1};
  const char *anchorsText = nullptr, *certificateText = nullptr, *keyText = nullptr;
  int error = 0;
  bool connected = false;
  uint8_t buffer[2048];
  size_t held = 0, at = 0;  // of what was decrypted; in a canned answer

  Context() { start(); }
  ~Context() { free(); }

  void start() {
    mbedtls_ssl_init(&ssl_ctx);
    mbedtls_ssl_config_init(&ssl_conf);
    mbedtls_ctr_drbg_init(&drbg_ctx);
    mbedtls_entropy_init(&entropy_ctx);
    mbedtls_x509_crt_init(&ca_cert);
    mbedtls_x509_crt_init(&client_cert);
    mbedtls_pk_init(&client_key);
  }

  void free() {
    if (net.fd >= 0) close(net.fd);
    net.fd = -1;
    mbedtls_ssl_free(&ssl_ctx);
    mbedtls_ssl_config_free(&ssl_conf);
    mbedtls_ctr_drbg_free(&drbg_ctx);
    mbedtls_entropy_free(&entropy_ctx);
    mbedtls_x509_crt_free(&ca_cert);
    mbedtls_x509_crt_free(&client_cert);
    mbedtls_pk_free(&client_key);
  }

  int handshake(const char *host, uint16_t port);
  int trust();
  bool fill();
};

WiFiClientSecure::WiFiClientSecure() : _context(new Context) { sslclient = _context.get(); }
void WiFiClientSecure::setCACert(const char *pem) { _context->anchorsText = pem; }
void WiFiClientSecure::setCertificate(const char *pem) { _context->certificateText = pem; }
void WiFiClientSecure::setPrivateKey(const char *pem) { _context->keyText = pem; }
int WiFiClientSecure::lastError(char *, size_t) { return _context->error; }

int WiFiClientSecure::Context::trust() {
  if (anchorsText == nullptr) return -1;
  int error = mbedtls_x509_crt_parse(&ca_cert, bytes(anchorsText), strlen(anchorsText) + 1);
  if (error < 0) return error;
  mbedtls_ssl_conf_authmode(&ssl_conf, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_ca_chain(&ssl_conf, &ca_cert, nullptr);
  if (certificateText == nullptr || keyText == nullptr) return 0;
  error = mbedtls_x509_crt_parse(&client_cert, bytes(certificateText), strlen(certificateText) + 1);
#if MBEDTLS_VERSION_MAJOR >= 3
  if (error == 0) {
    error = mbedtls_pk_parse_key(&client_key, bytes(keyText), strlen(keyText) + 1, nullptr, 0, mbedtls_ctr_drbg_random,
                                 &drbg_ctx);
  }
#else
  if (error == 0) error = mbedtls_pk_parse_key(&client_key, bytes(keyText), strlen(keyText) + 1, nullptr, 0);
#endif
  return error == 0 ? mbedtls_ssl_conf_own_cert(&ssl_conf, &client_cert, &client_key) : error;
}

int WiFiClientSecure::Context::handshake(const char *host, uint16_t port) {
  if (anchorsText == nullptr) return -1;
  signal(SIGPIPE, SIG_IGN);  // lwIP has no signals
  net.fd = chip.online ? dial(port) : -1;
  if (net.fd < 0) return -1;
  mbedtls_ctr_drbg_seed(&drbg_ctx, mbedtls_entropy_func, &entropy_ctx, nullptr, 0);
  mbedtls_ssl_config_defaults(&ssl_conf, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
#if MBEDTLS_VERSION_MAJOR >= 3
  mbedtls_ssl_conf_max_tls_version(&ssl_conf, MBEDTLS_SSL_VERSION_TLS1_2);  // ESP-IDF compiles no more in
#endif
  mbedtls_ssl_conf_rng(&ssl_conf, mbedtls_ctr_drbg_random, &drbg_ctx);
  mbedtls_ssl_conf_read_timeout(&ssl_conf, READ_TIMEOUT);
  int error = trust();
  if (error == 0) error = mbedtls_ssl_setup(&ssl_ctx, &ssl_conf);
  if (error == 0) error = mbedtls_ssl_set_hostname(&ssl_ctx, host);
  if (error != 0) return error;
  mbedtls_ssl_set_bio(&ssl_ctx, &net, mbedtls_net_send, nullptr, mbedtls_net_recv_timeout);
  return mbedtls_ssl_handshake(&ssl_ctx);
}

int WiFiClientSecure::connect(const char *host, uint16_t port, int32_t) {
  Context &c = *_context;
  if (canned.used) {
    uint32_t flags = 0;
    c.at = 0;
    if (c.ssl_conf.f_vrfy != nullptr) c.ssl_conf.f_vrfy(c.ssl_conf.p_vrfy, &c.ca_cert, 0, &flags);
    return c.connected = true;
  }
  c.error = c.handshake(host, port);
  if (c.error != 0) {
    stop();
    return 0;
  }
  return c.connected = true;
}

void WiFiClientSecure::stop() {
  if (_context->connected && chip.silent()) chip.silentAfter = 0;
  _context->connected = false;
  _context->held = 0;
  _context->free();
  _context->start();
}

// Waits for the next bytes; false at the end.
bool WiFiClientSecure::Context::fill() {
  if (held > 0) return true;
  if (!connected || chip.silent()) return false;
  int got = 0;
  if (canned.used) {
    got = static_cast<int>(std::min(sizeof buffer, canned.body.size() - canned.from - at));
    memcpy(buffer, canned.body.data() + canned.from + at, static_cast<size_t>(got));
    at += static_cast<size_t>(got);
  } else {
    got = mbedtls_ssl_read(&ssl_ctx, buffer, sizeof buffer);
  }
  if (got <= 0) connected = false;
  held = got > 0 ? static_cast<size_t>(got) : 0;
  return held > 0;
}

uint8_t WiFiClientSecure::connected() { return _context->held > 0 || _context->connected; }
int WiFiClientSecure::available() { return _context->fill() ? static_cast<int>(_context->held) : 0; }
int WiFiClientSecure::peek() { return _context->fill() ? _context->buffer[0] : -1; }

int WiFiClientSecure::read() {
  uint8_t byte;
  return read(&byte, 1) == 1 ? byte : -1;
}

int WiFiClientSecure::read(uint8_t *buffer, size_t size) {
  Context &c = *_context;
  if (!c.fill()) return -1;
  if (chip.pace != 0) {
    chip.milliseconds += chip.pace;
    size = 1;
  }
  const size_t taken = std::min(size, c.held);
  memcpy(buffer, c.buffer, taken);
  c.held -= taken;
  memmove(c.buffer, c.buffer + taken, c.held);
  chip.take(static_cast<int>(taken));
  return static_cast<int>(taken);
}

size_t WiFiClientSecure::write(const uint8_t *data, size_t size) {
  for (size_t sent = 0; sent < size;) {
    const int done = mbedtls_ssl_write(&_context->ssl_ctx, data + sent, size - sent);
    if (done <= 0) return sent;
    sent += static_cast<size_t>(done);
  }
  return size;
}
