// What outlives a restart: the last time that was certainly right, when the certificates were built, and how often
// which release was tried. One small file, written beside the old one and renamed; damaged, it counts as none.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace otaseal {

struct Record {
  static constexpr uint8_t MOST_ATTEMPTS = 3;

  uint32_t time;          // Unix seconds at which a server's certificate was valid
  uint32_t certificates;  // Unix seconds: the build time of the archive in use
  uint8_t attempts;
  uint8_t transfer[16];  // MD5 that the server announced for the release that was tried last; zeros: none
  uint8_t payload[8];    // the first bytes of SHA-256 over its signed bytes

  bool exhausted(const uint8_t *payloadHash) const;  // no further attempt at that payload
  bool exhaustedTransfer(const uint8_t *md5) const;  // nor at what the server announces as that MD5, zeros for none
  void note(const uint8_t *payloadHash, const uint8_t *md5);
};

// Reads 32 hex digits; returns false, and leaves `bytes` zero, for anything else.
bool parseMd5(const char *text, uint8_t *bytes);

// A small file of that very size, whose last bytes are a checksum: a torn or foreign one is none.
constexpr size_t CHECKSUM = 4;  // bytes of SHA-256
bool readSealed(const char *path, void *data, size_t size);
bool replaceSealed(const char *path, void *data, size_t size);  // writes the checksum into the data

class Journal {
 public:
  static constexpr uint32_t SAVE_TIME_EVERY = 24 * 3600;  // seconds: spares the flash

  Record record = {};

  void load();
  bool save() const;
};

}  // namespace otaseal
