// TLS by mbedTLS, behind the core's client. That takes certificates as one text in PEM, which is made of the archive for
// each handshake and dropped after it. It looks at no date, since neither core compiles that in, and forgets why it did not
// like a server: so this has a say, within the handshake, in what is wrong with each certificate.
#pragma once

#include <FS.h>
#include <WiFiClientSecure.h>
#include <mbedtls/x509_crt.h>

#include <memory>

#include "crypto.h"
#include "ec.h"
#include "errors.h"

namespace otaseal {

// What a handshake finds of the server's certificates.
struct Findings {
  const mbedtls_x509_crt *anchors;  // those that the core's client has made of the text
  mbedtls_x509_time now;
  uint32_t flags;  // mbedTLS's, of all certificates
  bool looked;     // at any
};

class TlsClient : public ::WiFiClientSecure {
 public:
  void watch(Findings *findings);  // of the next handshake, or of none
};

// Whom to connect to, and when.
struct Peer {
  const char *server;
  uint16_t port;
  uint32_t now;  // Unix seconds
};

class Tls {
 public:
  bool load() { return true; }  // nothing is kept of it
  void forget() {}              // nor of a connection
  bool identify(fs::File &certificate, fs::File &key);
  bool look(Validity &validity) const;
  void dropIdentity() {
    _certificate.reset();
    _key.reset();
  }

  // Connects with the authorities in the archive at that path. Whoever the server is, it has been asked nothing yet;
  // unless this returns None, `detail` is mbedTLS's error (negative), or the flags of its verification.
  Error handshake(TlsClient &client, const char *archive, const Peer &peer, int &detail) const;

 private:
  std::unique_ptr<char[]> _certificate, _key;  // PEM
};

}  // namespace otaseal
