// A filesystem that may lose power.
#include "disk.h"

#include <LittleFS.h>

#include "chip.h"

Disk disk;
FS LittleFS;

void Disk::step() {
  if (dead || ++operations == cutAt) {
    dead = true;
    throw PowerCut();
  }
}

size_t Disk::used() const {
  size_t sum = 0;
  for (const auto &file : files) sum += file.second.size();
  return sum;
}

namespace fs {

// What was never closed is lost, as it is where a program forgets to close.
struct OpenFile {
  std::string path, content;
  size_t position = 0;
  bool writes = false;
};

size_t File::write(const uint8_t *data, size_t size) {
  if (!_open || !_open->writes) return 0;
  OpenFile &file = *_open;
  for (size_t i = 0; i < size; i++) {
    disk.step();
    if (disk.used() + (disk.torn ? 0 : file.content.size()) + 1 > disk.room) return i;
    if (file.position < file.content.size()) {
      file.content[file.position] = static_cast<char>(data[i]);
    } else {
      file.content.push_back(static_cast<char>(data[i]));
    }
    file.position++;
    if (disk.torn) disk.files[file.path] = file.content;
  }
  return size;
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
  if (disk.torn) disk.files[_open->path] = _open->content;
  return true;
}

void File::close() {
  if (_open && _open->writes) {
    disk.step();
    disk.files[_open->path] = _open->content;
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
  Shared<OpenFile> handle(new OpenFile);
  handle->path = path;
  handle->writes = writes;
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
  disk.step();
  return removed;
}

bool FS::rename(const char *from, const char *to) {
  disk.step();
  const auto found = disk.files.find(from);
  if (found == disk.files.end()) return false;
  const std::string content = found->second;
  disk.files.erase(found);
  disk.files[to] = content;
  disk.step();
  return true;
}

}  // namespace fs
