// Certificate authorities in an ar archive on a filesystem.
#pragma once
#include <Arduino.h>
#include <FS.h>

#include "BearSSLHelpers.h"

namespace BearSSL {

class CertStoreBase {
 public:
  virtual ~CertStoreBase() = default;
};

class CertStore : public CertStoreBase {
 public:
  int initCertStore(fs::FS &fs, const char *index, const char *archive);
};

}  // namespace BearSSL
