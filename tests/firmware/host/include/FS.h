// LittleFS in memory. Content becomes visible when its file is closed, names change at once or not at all. The power may
// fail before every operation and every byte.
#pragma once
#include <Arduino.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace fs {

enum SeekMode { SeekSet = 0, SeekCur = 1, SeekEnd = 2 };

struct Disk {
  std::map<std::string, std::string> files;
  bool mountable = true;
  bool formats = true;   // what the core does with a disk that does not mount, unless it is told not to
  bool formatted = false;
  bool torn = false;     // a pessimist's filesystem: bytes are in place as soon as they are written
  size_t room = SIZE_MAX;  // bytes that all files together may have
  uint64_t operations = 0, cutAt = 0;  // 0: never
  bool dead = false;

  void step();  // throws PowerCut when it is time
  size_t used() const;
};

struct Handle {
  std::string path, content;
  size_t position = 0;
  bool writes = false;
};

class File : public Stream {
 public:
  File() = default;
  explicit File(std::shared_ptr<Handle> handle) : _handle(std::move(handle)) {}
  ~File() override;
  File(const File &) = default;
  File &operator=(const File &) = default;

  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;
  int available() override;
  int read() override;
  int read(uint8_t *buffer, size_t size) override;
  int peek() override { return -1; }
  bool seek(uint32_t position, SeekMode mode = SeekSet);
  bool truncate(uint32_t size);
  size_t size() const { return _handle ? _handle->content.size() : 0; }
  void close();
  operator bool() const { return _handle != nullptr; }

 private:
  std::shared_ptr<Handle> _handle;
};

struct FSConfig {
  bool autoFormat = true;
};

class FS {
 public:
  bool setConfig(const FSConfig &config);
  bool begin();
  File open(const char *path, const char *mode);
  bool exists(const char *path);
  bool remove(const char *path);
  bool rename(const char *from, const char *to);
};

}  // namespace fs

extern fs::Disk disk;
using fs::File;
using fs::FS;
