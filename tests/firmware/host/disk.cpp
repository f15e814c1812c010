// A filesystem that may lose power.
#include "disk.h"

#include <LittleFS.h>

#include <set>

#include "chip.h"

Disk disk;

void Disk::step() {
  if (dead || ++operations == cutAt) {
    dead = true;
    throw PowerCut();
  }
}

void flashOperation() { disk.step(); }
void powerFails() { throw PowerCut(); }

namespace fs {

static std::set<OpenFile *> writers;

// What was never closed is lost, as it is where a program forgets to close; until then it takes room.
struct OpenFile {
  OpenFile(const char *name, bool writing) : path(name), writes(writing) {
    if (writes) writers.insert(this);
  }
  ~OpenFile() { writers.erase(this); }

  void commit() const {
    if (!path.empty()) disk.files[path] = content;
  }

  std::string path, content;  // no path: was removed
  size_t position = 0;
  bool writes = false;
};

}  // namespace fs

size_t Disk::used() const {
  size_t sum = 0;
  for (const auto &file : files) sum += file.second.size();
  if (torn) return sum;  // then it is in place already
  for (const fs::OpenFile *file : fs::writers) sum += file->content.size();
  return sum;
}

namespace fs {

size_t File::write(const uint8_t *data, size_t size) {
  if (!_open || !_open->writes) return 0;
  OpenFile &file = *_open;
  size_t done = 0;
  try {
    for (; done < size; done++) {
      disk.step();
      if (disk.room != SIZE_MAX && disk.used() + 1 > disk.room) break;
      if (file.position < file.content.size()) {
        file.content[file.position] = static_cast<char>(data[done]);
      } else {
        file.content.push_back(static_cast<char>(data[done]));
      }
      file.position++;
    }
  } catch (const PowerCut &) {
    if (disk.torn) file.commit();
    throw;
  }
  if (disk.torn) file.commit();
  return done;
}

size_t File::size() const { return _open ? _open->content.size() : 0; }
int File::available() { return _open ? static_cast<int>(_open->content.size() - _open->position) : 0; }

int File::read() {
  uint8_t byte;
  return read(&byte, 1) == 1 ? byte : -1;
}

int File::read(uint8_t *buffer, size_t size) {
  if (!_open) return -1;
  const size_t left = _open->content.size() - _open->position, taken = size < left ? size : left;
  memcpy(buffer, _open->content.data() + _open->position, taken);
  _open->position += taken;
  return static_cast<int>(taken);
}

bool File::seek(uint32_t position, SeekMode) {
  if (!_open || position > _open->content.size()) return false;
  _open->position = position;
  return true;
}

bool File::truncate(uint32_t size) {
  if (!_open || !_open->writes || size > _open->content.size()) return false;
  disk.step();
  _open->content.resize(size);
  if (_open->position > size) _open->position = size;
  if (disk.torn) _open->commit();
  return true;
}

void File::flush() {
  if (!_open || !_open->writes) return;
  disk.step();
  _open->commit();
  disk.step();
}

void File::close() {
  if (_open && _open->writes) {
    disk.step();
    _open->commit();
    disk.step();
  }
  _open = Shared<OpenFile>();
}

bool FS::setConfig(const FSConfig &config) {
  disk.formats = config._autoFormat;
  return true;
}

bool FS::begin() {
  if (!disk.mountable && disk.formats) {
    disk.files.clear();
    disk.formatted = disk.mountable = true;
  }
  return disk.mountable;
}

File FS::open(const char *path, const char *mode) {
  const bool writes = strcmp(mode, "r") != 0, fresh = *mode == 'w';
  if (!disk.mountable || (!fresh && disk.files.count(path) == 0)) return File();
  Shared<OpenFile> handle(new OpenFile(path, writes));
  if (!fresh) handle->content = disk.files[path];
  if (writes) {
    disk.step();
    if (fresh && (disk.torn || disk.files.count(path) == 0)) disk.files[path] = "";
    disk.step();
  }
  return File(handle);
}

bool FS::exists(const char *path) { return disk.mountable && disk.files.count(path) > 0; }

bool FS::remove(const char *path) {
  disk.step();
  const bool removed = disk.files.erase(path) > 0;
  for (OpenFile *file : writers) {
    if (file->path == path) file->path.clear();
  }
  disk.step();
  return removed;
}

bool FS::rename(const char *from, const char *to) {
  disk.step();
  const auto found = disk.files.find(from);
  if (found == disk.files.end() || (!disk.replaces && disk.files.count(to) > 0)) return false;
  const std::string content = found->second;
  disk.files.erase(found);
  disk.files[to] = content;
  disk.step();
  return true;
}

}  // namespace fs
