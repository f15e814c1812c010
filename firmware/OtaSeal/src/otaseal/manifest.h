// The signed manifest: how it is caught from the bytes that are hashed, and what is refused by it. Knows nothing of
// flash, network or keys: whoever calls judge() has verified the signature before.
//
// 64 bytes, numbers little-endian: magic 0..7, format 8, kind 9, flash mode 10, zero 11, security counter 12, build time
// 16, product id 20, board id 28 (zeros: any), version 36..63. A raw payload ends with them; in a gzip they are the
// first subfield of FEXTRA, bytes 16..79.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "errors.h"

namespace otaseal {

enum class Kind : uint8_t { Firmware = 0, Certificates = 1 };

struct Manifest {
  static constexpr size_t SIZE = 64;
  static constexpr size_t ID = 8;

  uint8_t bytes[SIZE];

  uint32_t counter() const { return word(12); }
  uint32_t buildTime() const { return word(16); }
  const uint8_t *product() const { return bytes + 20; }
  const uint8_t *board() const { return bytes + 28; }

 private:
  uint32_t word(size_t at) const {
    return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | static_cast<uint32_t>(bytes[at + 3]) << 24;
  }
};

// Why a device with the identity `own` must not take `offered` as a `kind`; Error::None if it may.
Error judge(const Manifest &offered, const Manifest &own, Kind kind);

// Keeps of a payload that passes by, in pieces of any size, where its manifest would be.
class Capture {
 public:
  void begin();
  void add(const uint8_t *data, size_t size);
  bool manifest(Manifest &found) const;  // false: there is none at its place

 private:
  static constexpr size_t SUBFIELD = 16;  // of the gzip: behind 10 bytes of header, XLEN and the subfield's own 4
  static constexpr size_t WINDOW = SUBFIELD + Manifest::SIZE;

  uint8_t _window[WINDOW];  // the first bytes of a gzip, the last ones of anything else
  uint8_t _held = 0;
  bool _gzip = false;
};

}  // namespace otaseal
