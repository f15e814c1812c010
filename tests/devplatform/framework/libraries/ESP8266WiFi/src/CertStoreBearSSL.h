// Certificate authorities in an ar archive on a filesystem.
#pragma once
#include <Arduino.h>
#include <FS.h>

#include "BearSSLHelpers.h"

namespace BearSSL {

class CertStoreBase {
 public:
  virtual ~CertStoreBase() = default;
  virtual void installCertStore(br_x509_minimal_context *context) = 0;
};

class CertStore : public CertStoreBase {
 public:
  int initCertStore(fs::FS &fs, const char *index, const char *archive);
  void installCertStore(br_x509_minimal_context *context) override;

 private:
  struct Anchors;
  Shared<Anchors> _anchors;
};

}  // namespace BearSSL
