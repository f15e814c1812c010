// The filesystem of an ESP32: LittleFS, or one that the sketch has mounted. SPIFFS and FAT do not rename over a file; there
// the old one is moved aside first, and put back by mount() if the power failed before the new one was in its place.
#if defined(ARDUINO_ARCH_ESP32)

#include <LittleFS.h>

#include "files.h"

namespace otaseal {
namespace files {

// Each file that is renamed over, and where the old one is meanwhile.
static const char *const MOVED[][2] = {
    {CERTIFICATES, "/certs.old"},
    {JOURNAL, "/otaseal.old"},
    {CLIENT_KEY, "/client.key.old"},
    {CLIENT_CERTIFICATE, "/client.crt.old"},
};

static fs::FS *chosen = &LittleFS;

void use(fs::FS &mounted) { chosen = &mounted; }
fs::FS &system() { return *chosen; }

static void restore(const char *path, const char *old) {
  if (!chosen->exists(old)) return;
  if (chosen->exists(path)) {
    chosen->remove(old);
  } else {
    chosen->rename(old, path);
  }
}

bool mount() {
  if (chosen == &LittleFS && !LittleFS.begin(false)) return false;
  for (const auto &one : MOVED) restore(one[0], one[1]);
  return true;
}

// The core complains on the console of a file that is not there.
fs::File open(const char *path) { return chosen->exists(path) ? chosen->open(path, "r") : fs::File(); }
fs::File openToTruncate(const char *path) { return open(path); }

bool rename(const char *from, const char *to) {
  if (chosen->rename(from, to)) return true;
  if (!chosen->exists(from) || !chosen->exists(to)) return false;
  const char *old = nullptr;
  for (const auto &one : MOVED) {
    if (strcmp(to, one[0]) == 0) old = one[1];
  }
  if (old == nullptr) return chosen->remove(to) && chosen->rename(from, to);  // nothing that is in use
  if (chosen->exists(old)) chosen->remove(old);
  if (!chosen->rename(to, old)) return false;
  const bool renamed = chosen->rename(from, to);
  restore(to, old);
  return renamed;
}

// Core 2.0.17 cannot truncate: what is to stay is written to another file.
bool truncate(fs::File &file, const char *path, uint32_t size) {
  fs::File beside = create(CERTIFICATES_NEW_INDEX);
  uint8_t piece[128];
  uint32_t left = size;
  bool good = beside && file.seek(0);
  while (good && left > 0) {
    const size_t wanted = left < sizeof piece ? left : sizeof piece;
    good = static_cast<size_t>(file.read(piece, wanted)) == wanted && beside.write(piece, wanted) == wanted;
    left -= static_cast<uint32_t>(wanted);
  }
  file.close();
  if (beside) beside.close();
  if (!good || files::size(CERTIFICATES_NEW_INDEX) != size) return false;
  discard(path);
  return chosen->rename(CERTIFICATES_NEW_INDEX, path);
}

}  // namespace files
}  // namespace otaseal

#endif
