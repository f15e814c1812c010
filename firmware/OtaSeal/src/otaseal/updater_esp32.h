// The three that updaters of other chips' cores have, for SlotUpdate, which asks them here.
#pragma once

#include <stdint.h>

#include <memory>
#include <new>

#include "crypto.h"

namespace otaseal {

class UpdateHash {
 public:
  virtual ~UpdateHash() = default;
  virtual void begin() {
    _sha.reset(new (std::nothrow) Sha256);
    _whole = false;
  }
  virtual void add(const void *data, uint32_t size) {
    if (_sha != nullptr) _sha->add(data, size);
  }
  void end() {
    _whole = _sha != nullptr && _sha->finish(_digest);
    _sha.reset();
  }
  bool isWhole() const { return _whole; }
  const void *hash() const { return _digest; }

 private:
  std::unique_ptr<Sha256> _sha;
  uint8_t _digest[Sha256::SIZE] = {};
  bool _whole = false;  // the digest is that of all that was added
};

using UpdateDigest = UpdateHash;

class UpdateVerifier {
 public:
  virtual ~UpdateVerifier() = default;
  virtual uint32_t length() = 0;
  virtual bool verify(UpdateDigest *hash, const void *signature, uint32_t size) = 0;
};

inline void installInUpdater(UpdateDigest *, UpdateVerifier *) {}  // whatever else writes to a slot is not asked

}  // namespace otaseal
