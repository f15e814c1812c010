#include "files.h"

namespace otaseal {
namespace files {

const char CERTIFICATES[] = "/certs.ar";
const char CERTIFICATES_NEW[] = "/certs.new";
const char CERTIFICATES_NEW_INDEX[] = "/certs.idn";
const char CLIENT_CERTIFICATE[] = "/client.crt";
const char CLIENT_KEY[] = "/client.key";

#if !defined(ARDUINO_ARCH_ESP32)

bool mount() {
  LittleFS.setConfig(LittleFSConfig(false));
  return LittleFS.begin();
}

fs::File open(const char *path) { return LittleFS.open(path, "r"); }
fs::File openToTruncate(const char *path) { return LittleFS.open(path, "r+"); }
bool rename(const char *from, const char *to) { return LittleFS.rename(from, to); }

#endif

fs::File create(const char *path) { return system().open(path, "w"); }

void discard(const char *path) {
  if (exists(path)) system().remove(path);
}

size_t read(const char *path, void *data, size_t size) {
  fs::File file = open(path);
  if (!file || file.size() > size) return 0;
  const int got = static_cast<int>(file.read(static_cast<uint8_t *>(data), size));
  return got > 0 ? static_cast<size_t>(got) : 0;
}

static bool write(const char *path, const void *data, size_t size) {
  fs::File file = create(path);
  if (!file) return false;
  const bool written = file.write(static_cast<const uint8_t *>(data), size) == size;
  file.close();  // says not whether the last bytes found room
  return written;
}

size_t size(const char *path) {
  const fs::File file = open(path);
  return file ? file.size() : 0;
}

bool replace(const char *path, const void *data, size_t length) {
  static constexpr char BESIDE[] = "/otaseal.new";
  return write(BESIDE, data, length) && size(BESIDE) == length && rename(BESIDE, path);
}

}  // namespace files
}  // namespace otaseal
