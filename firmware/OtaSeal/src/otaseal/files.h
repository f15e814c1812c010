// The library's files, by name, and the one way they are replaced: written beside, then renamed over. LittleFS renames at
// once, so that after a power cut there is the old file or the new one, whole.
#pragma once

#include <FS.h>
#if !defined(ARDUINO_ARCH_ESP32)
#include <LittleFS.h>
#endif

namespace otaseal {
namespace files {

extern const char CERTIFICATES[];
constexpr char CERTIFICATES_INDEX[] = "/certs.idx";
extern const char CERTIFICATES_NEW[];  // a download; nothing trusts it before it is renamed
extern const char CERTIFICATES_NEW_INDEX[];
extern const char CLIENT_CERTIFICATE[];
extern const char CLIENT_KEY[];
constexpr char SECRET[] = "/otaseal.key";
constexpr char CLIENT_CERTIFICATE_NEW[] = "/client.crt.new";  // the next pair, until the server has taken it
constexpr char CLIENT_KEY_NEW[] = "/client.key.new";
constexpr char JOURNAL[] = "/otaseal.jnl";
constexpr char CONSENT[] = "/otaseal.ask";

#if defined(ARDUINO_ARCH_ESP32)
fs::FS &system();
void use(fs::FS &mounted);  // another one than LittleFS
#else
inline fs::FS &system() { return LittleFS; }  // these cores have no other that is worth it
#endif

inline bool exists(const char *path) { return system().exists(path); }
bool mount();  // never formats
fs::File open(const char *path);
size_t size(const char *path);  // 0 also if there is none
size_t read(const char *path, void *data, size_t size);  // 0 also if the file is larger
bool replace(const char *path, const void *data, size_t size);
bool rename(const char *from, const char *to);
void discard(const char *path);
fs::File create(const char *path);
fs::File openToTruncate(const char *path);

// Cuts off what is behind `size`, of a file that was opened to be truncated, and closes it.
#if defined(ARDUINO_ARCH_ESP32)
bool truncate(fs::File &file, const char *path, uint32_t size);
#else
inline bool truncate(fs::File &file, const char *, uint32_t size) {
  const bool cut = file.truncate(size);
  file.close();
  return cut;
}
#endif

}  // namespace files
}  // namespace otaseal
