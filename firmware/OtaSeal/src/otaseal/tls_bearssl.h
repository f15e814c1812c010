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

struct Tls {
  BearSSL::CertStore store;
  BearSSL::Session session;
  std::unique_ptr<BearSSL::X509List> certificate;  // made once, if the device has one
  std::unique_ptr<BearSSL::PrivateKey> key;

  bool load() { return store.initCertStore(files::system(), files::CERTIFICATES_INDEX, files::CERTIFICATES) > 0; }
  void forget() { session = BearSSL::Session(); }

  __attribute__((always_inline)) bool identify(fs::File &certificateFile, fs::File &keyFile) {
    certificate.reset(new (std::nothrow) BearSSL::X509List(certificateFile, certificateFile.size()));
    key.reset(new (std::nothrow) BearSSL::PrivateKey(keyFile, keyFile.size()));
    if (certificate && certificate->getCount() > 0 && key && (key->isEC() || key->isRSA())) return true;
    dropIdentity();
    return false;
  }
  void dropIdentity() {
    certificate.reset();
    key.reset();
  }
  bool look(Validity &validity) const {
    const br_x509_certificate *own = certificate ? certificate->getX509Certs() : nullptr;
    return own != nullptr && readCertificate(own->data, own->data_len, nullptr, validity);
  }
};

}  // namespace otaseal
