// TLS by BearSSL, which reads certificates out of the archive as it needs them, and keeps sessions.
#pragma once

#include <CertStoreBearSSL.h>
#include <WiFiClientSecure.h>

#include <memory>
#include <new>

#include "ec.h"
#include "files.h"

namespace otaseal {

using TlsClient = BearSSL::WiFiClientSecure;

// The device's own certificate and key.
struct Identity {
  Identity(fs::File &certificateFile, fs::File &keyFile)
      : certificate(certificateFile, certificateFile.size()), key(keyFile, keyFile.size()) {}

  BearSSL::X509List certificate;
  BearSSL::PrivateKey key;
};

struct Tls {
  BearSSL::CertStore store;
  BearSSL::Session session;
  std::unique_ptr<Identity> own;  // made once, if the device has one

  bool load() { return store.initCertStore(files::system(), files::CERTIFICATES_INDEX, files::CERTIFICATES) > 0; }
  void forget() { session = BearSSL::Session(); }

  __attribute__((always_inline)) bool identify(fs::File &certificate, fs::File &key) {
    own.reset(new (std::nothrow) Identity(certificate, key));
    if (own && own->certificate.getCount() > 0 && (own->key.isEC() || own->key.isRSA())) return true;
    dropIdentity();
    return false;
  }
  void dropIdentity() { own.reset(); }
  bool look(Validity &validity) const {
    if (!own) return false;
    const br_x509_certificate *certificate = own->certificate.getX509Certs();
    return readCertificate(certificate->data, certificate->data_len, nullptr, validity);
  }
};

}  // namespace otaseal
