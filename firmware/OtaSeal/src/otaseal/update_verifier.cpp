#include "update_verifier.h"

#include <pgmspace.h>
#include <string.h>

#include "staged_trailer.h"

namespace otaseal {

void CapturingHash::begin() {
  BearSSL::HashSHA256::begin();
  _capture.begin();
  inspector.begin();
}

void CapturingHash::add(const void *data, uint32_t size) {
  BearSSL::HashSHA256::add(data, size);
  _capture.add(static_cast<const uint8_t *>(data), size);
  inspector.add(data, size);
}

void Gate::install() { Update.installSignature(&hash, this); }

void Gate::watch(Journal *journal) {
  _journal = journal;
  memset(_transfer, 0, sizeof _transfer);
}

void Gate::announce(const uint8_t *transfer) { memcpy(_transfer, transfer, sizeof _transfer); }

Manifest Gate::identity() const {
  Manifest own;
  memcpy_P(own.bytes, _build.identity, sizeof own.bytes);
  return own;
}

uint32_t Gate::keyLength(bool next) const {
  const char *pem = next ? _build.nextKey : _build.key;
  if (pem == nullptr) return 0;
  const BearSSL::PublicKey key(pem);
  return key.isRSA() ? key.getRSA()->nlen : 0;
}

// The updater asks before it looks at the trailer, and takes no other length. Two keys may differ in theirs, so the answer
// is what the trailer says if that fits one of them.
uint32_t Gate::length() {
  const uint32_t own = keyLength(false), next = keyLength(true);
  return next != 0 && next != own && stagedTrailer() == next ? next : own;
}

bool Gate::opens(const char *pem, const void *signature, uint32_t size, UpdaterHashClass &digest) const {
  if (pem == nullptr) return false;
  BearSSL::PublicKey key(pem);
  if (!key.isRSA()) return false;
  BearSSL::SigningVerifier verifier(&key);  // refuses a signature of another length than the key's
  return verifier.verify(&digest, signature, size);
}

Error Gate::verdict(CapturingHash &digest, Kind kind, const void *signature, uint32_t size, Manifest &found) const {
  if (!opens(_build.key, signature, size, digest) && !opens(_build.nextKey, signature, size, digest)) {
    return Error::Signature;
  }
  return digest.manifest(found) ? judge(found, identity(), kind) : Error::NoManifest;
}

bool Gate::verify(UpdaterHashClass *digest, const void *signature, uint32_t size) {
  Manifest found;
  if (digest != &hash) return false;
  _error = verdict(hash, Kind::Firmware, signature, size, found);
  if (_error == Error::None) _error = hash.inspector.error();
  if (_journal == nullptr) return _error == Error::None;
  const uint8_t *payload = static_cast<const uint8_t *>(hash.hash());
  if (_journal->record.exhausted(payload)) {
    if (_error == Error::None) _error = Error::Attempts;
    return false;
  }
  _journal->record.note(payload, _transfer);
  _journal->save();  // before it is installed: whatever happens next, this try counts
  return _error == Error::None;
}

}  // namespace otaseal
