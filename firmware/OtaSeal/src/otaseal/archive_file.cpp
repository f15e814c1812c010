#include "archive_file.h"

#include <memory>
#include <new>

#include "crypto.h"
#include "files.h"

namespace otaseal {

static inline __attribute__((always_inline)) uint16_t read(const char *path, uint8_t *hash, ArchiveCheck &check) {
  fs::File file = files::open(path);
  if (!file || file.size() > ArchiveCheck::LIMIT) return 0;
  Sha256 sha;
  uint8_t piece[128];
  uint32_t left = file.size();
  check.begin();
  while (left > 0) {
    const int got = static_cast<int>(file.read(piece, left < sizeof piece ? left : sizeof piece));
    if (got <= 0) return 0;
    check.add(piece, static_cast<uint32_t>(got));
    sha.add(piece, static_cast<size_t>(got));
    left -= static_cast<uint32_t>(got);
  }
  sha.finish(hash);
  return check.finish();
}

uint16_t inspect(const char *path, uint8_t *hash) {
  std::unique_ptr<ArchiveCheck> check(new (std::nothrow) ArchiveCheck);
  return check ? read(path, hash, *check) : 0;
}

#if defined(ARDUINO_ARCH_ESP32)
uint16_t inspect(const char *path, uint8_t *hash, ArchiveCheck &check) { return read(path, hash, check); }
#endif

}  // namespace otaseal
