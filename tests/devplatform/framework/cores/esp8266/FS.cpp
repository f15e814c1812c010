// Filesystems: every one is empty on the host.
#include "FS.h"

namespace fs {

struct OpenFile {};

size_t File::write(const uint8_t *, size_t) { return 0; }
int File::available() { return 0; }
int File::read() { return -1; }
int File::read(uint8_t *, size_t) { return -1; }
bool File::seek(uint32_t, SeekMode) { return false; }
size_t File::position() const { return 0; }
size_t File::size() const { return 0; }
bool File::truncate(uint32_t) { return false; }
void File::flush() {}
void File::close() {}

bool FS::setConfig(const FSConfig &) { return true; }
bool FS::begin() { return false; }
bool FS::format() { return false; }
bool FS::info(FSInfo &info) { info = FSInfo(); return false; }
File FS::open(const char *, const char *) { return File(); }
Dir FS::openDir(const char *) { return Dir(); }
bool FS::exists(const char *) { return false; }
bool FS::remove(const char *) { return false; }
bool FS::rename(const char *, const char *) { return false; }
bool FS::mkdir(const char *) { return false; }

}  // namespace fs
