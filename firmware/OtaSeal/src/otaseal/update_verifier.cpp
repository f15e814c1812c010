#include "update_verifier.h"

#include <pgmspace.h>
#include <string.h>

#include "signature.h"
#include "staged_trailer.h"

namespace otaseal {

void CapturingHash::begin() {
  UpdateHash::begin();
  _capture.begin();
  inspector.begin();
}

void CapturingHash::add(const void *data, uint32_t size) {
  UpdateHash::add(data, size);
  _capture.add(static_cast<const uint8_t *>(data), size);
  inspector.add(data, size);
}

void Gate::install() { installInUpdater(&hash, this); }

void Gate::watch(Journal &journal, const uint8_t *transfer) {
  _journal = &journal;
  memcpy(_transfer, transfer, sizeof _transfer);
}

Manifest Gate::identity() const {
  Manifest own;
  memcpy_P(own.bytes, _build.identity, sizeof own.bytes);
  return own;
}

uint32_t Gate::keyLength(bool next) const { return signatureLength(next ? _build.nextKey : _build.key); }

// The updater asks before it looks at the trailer, and takes no other length. Two keys may differ in theirs, so the answer
// is what the trailer says if that fits one of them.
uint32_t Gate::length() {
  const uint32_t own = keyLength(false), next = keyLength(true);
  return next != 0 && next != own && stagedTrailer() == next ? next : own;
}

Error Gate::verdict(CapturingHash &digest, Kind kind, const void *signature, uint32_t size, Manifest &found) const {
  if (!isSigned(_build.key, digest, signature, size) && !isSigned(_build.nextKey, digest, signature, size)) {
    return Error::Signature;
  }
  return digest.manifest(found) ? judge(found, identity(), kind) : Error::NoManifest;
}

bool Gate::verify(UpdateDigest *digest, const void *signature, uint32_t size) {
  Manifest found;
  if (digest != &hash) return false;
  _error = verdict(hash, Kind::Firmware, signature, size, found);
  if (_error == Error::None) _error = hash.inspector.error();
  if (_journal == nullptr) return _error == Error::None;
  const uint8_t *payload = static_cast<const uint8_t *>(hash.hash());
  if (_journal->record.exhausted(payload) && _error == Error::None) _error = Error::Attempts;
  _journal->record.note(payload, _transfer);
  _journal->save();  // before it is installed: whatever happens next, this try counts
  return _error == Error::None;
}

}  // namespace otaseal
