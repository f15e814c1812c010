#include "archive_file.h"

#include <memory>
#include <new>

#include "files.h"
#include "sha256.h"

namespace otaseal {

uint16_t inspect(const char *path, uint8_t *hash) {
  fs::File file = files::open(path);
  std::unique_ptr<ArchiveCheck> check(new (std::nothrow) ArchiveCheck);
  if (!file || !check || file.size() > ArchiveCheck::LIMIT) return 0;
  Sha256 sha;
  uint8_t piece[128];
  uint32_t left = file.size();
  check->begin();
  while (left > 0) {
    const int got = file.read(piece, left < sizeof piece ? left : sizeof piece);
    if (got <= 0) return 0;
    check->add(piece, static_cast<uint32_t>(got));
    sha.add(piece, static_cast<size_t>(got));
    left -= static_cast<uint32_t>(got);
  }
  sha.finish(hash);
  return check->finish();
}

}  // namespace otaseal
