// A filesystem that may lose power.
#include <LittleFS.h>

fs::Disk disk;
fs::FS LittleFS;

namespace fs {

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

File::~File() {
  // A destructor cannot lose power: what was never closed is lost instead, as it is where a program forgets to close.
  _handle.reset();
}

size_t File::write(const uint8_t *data, size_t size) {
  if (!_handle || !_handle->writes) return 0;
  Handle &file = *_handle;
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

int File::available() { return _handle ? static_cast<int>(_handle->content.size() - _handle->position) : 0; }

int File::read() {
  uint8_t byte;
  return read(&byte, 1) == 1 ? byte : -1;
}

int File::read(uint8_t *buffer, size_t size) {
  if (!_handle) return -1;
  const size_t left = _handle->content.size() - _handle->position, taken = size < left ? size : left;
  memcpy(buffer, _handle->content.data() + _handle->position, taken);
  _handle->position += taken;
  return static_cast<int>(taken);
}

bool File::seek(uint32_t position, SeekMode) {
  if (!_handle || position > _handle->content.size()) return false;
  _handle->position = position;
  return true;
}

bool File::truncate(uint32_t size) {
  if (!_handle || !_handle->writes || size > _handle->content.size()) return false;
  disk.step();
  _handle->content.resize(size);
  if (_handle->position > size) _handle->position = size;
  if (disk.torn) disk.files[_handle->path] = _handle->content;
  return true;
}

void File::close() {
  if (_handle && _handle->writes) {
    disk.step();
    disk.files[_handle->path] = _handle->content;
    disk.step();
  }
  _handle.reset();
}

bool FS::setConfig(const FSConfig &config) {
  disk.formats = config.autoFormat;
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
  auto handle = std::make_shared<Handle>();
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
