// Trust anchors out of an archive of certificates (F16).
#pragma once
#include <BearSSLHelpers.h>
#include <FS.h>

#include <list>

namespace BearSSL {

class CertStore {
 public:
  int initCertStore(fs::FS &fs, const char *index, const char *archive);
  const std::vector<br_x509_trust_anchor> &anchors();  // as they stand in the files now

 private:
  std::string _index, _archive;
  std::list<br_x509_decoder_context> _decoders;
  std::list<Bytes> _names;
  std::vector<br_x509_trust_anchor> _anchors;
};

}  // namespace BearSSL
