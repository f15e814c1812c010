// Filesystems: every one is empty on the host.
#include "FS.h"

namespace fs {

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
