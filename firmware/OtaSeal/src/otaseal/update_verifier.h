// What stands between a download and the boot loader. Installed into the core's updater it sees every update, from
// whatever side it comes; on the ESP32, where no updater can be told to ask, those of this library. The hash catches the
// manifest from the very bytes that are hashed, and the verifier asks two questions: did one of our two keys sign these
// bytes, and are they for this device?
#pragma once

#include "build.h"
#include "errors.h"
#include "persistent_state.h"
#include "manifest.h"
#include "port.h"
#include "updater.h"

namespace otaseal {

// Hashes, and keeps the manifest.
class CapturingHash final : public UpdateHash {
 public:
  void begin() override;
  void add(const void *data, uint32_t size) override;
  bool manifest(Manifest &found) const { return _capture.manifest(found); }

  port::Inspector inspector;

 private:
  Capture _capture;
};

class Gate final : public UpdateVerifier {
 public:
  explicit Gate(const Build &build) : _build(build) {}

  void install();  // into the updater, for good

  // Between these two a release is tried at most so often, and every try is noted in the journal. `transfer` is the MD5
  // that the server announced, zeros for none.
  void watch(Journal &journal, const uint8_t *transfer);
  void unwatch() { _journal = nullptr; }

  Error error() const { return _error; }  // why the last update was refused; None: none was, or it never got here
  void reset() { _error = Error::None; }

  // The verdict over bytes that `hash` has seen and a signature; also for what is no update of firmware.
  Error verdict(CapturingHash &hash, Kind kind, const void *signature, uint32_t size, Manifest &found) const;
  Manifest identity() const;
  uint32_t keyLength(bool next) const;  // bytes of a signature; 0: there is no such key

  uint32_t length() override;
  bool verify(UpdateDigest *hash, const void *signature, uint32_t size) override;

  CapturingHash hash;

 private:
  const Build &_build;
  Journal *_journal = nullptr;
  uint8_t _transfer[16];
  Error _error = Error::None;
};

}  // namespace otaseal
