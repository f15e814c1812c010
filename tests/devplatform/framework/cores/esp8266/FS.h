// Filesystems.
#pragma once
#include <Arduino.h>

namespace fs {

enum SeekMode { SeekSet = 0, SeekCur = 1, SeekEnd = 2 };

struct OpenFile;

class File : public Stream {
 public:
  File() = default;
  explicit File(const Shared<OpenFile> &open) : _open(open) {}
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *data, size_t size) override;
  using Print::write;
  int available() override;
  int read() override;
  int read(uint8_t *buffer, size_t size) override;
  int peek() override { return -1; }
  void flush() override;
  bool seek(uint32_t position, SeekMode mode = SeekSet);
  size_t position() const;
  size_t size() const;
  bool truncate(uint32_t size);
  void close();
  operator bool() const { return static_cast<bool>(_open); }
  const char *name() const { return ""; }
  const char *fullName() const { return ""; }
  bool isFile() const { return false; }
  bool isDirectory() const { return false; }

 private:
  Shared<OpenFile> _open;
};

class Dir {
 public:
  bool next() { return false; }
  String fileName() { return String(); }
  size_t fileSize() { return 0; }
  File openFile(const char *) { return File(); }
};

struct FSInfo {
  size_t totalBytes, usedBytes, blockSize, pageSize, maxOpenFiles, maxPathLength;
};

class FSConfig {
 public:
  static constexpr uint32_t FSId = 0;
  FSConfig(uint32_t type = FSId, bool autoFormat = true) : _type(type), _autoFormat(autoFormat) {}
  FSConfig setAutoFormat(bool on = true) { _autoFormat = on; return *this; }
  uint32_t _type;
  bool _autoFormat;
};

class FS {
 public:
  bool setConfig(const FSConfig &config);
  bool begin();
  void end() {}
  bool format();
  bool info(FSInfo &info);
  File open(const char *path, const char *mode);
  File open(const String &path, const char *mode) { return open(path.c_str(), mode); }
  Dir openDir(const char *path);
  Dir openDir(const String &path) { return openDir(path.c_str()); }
  bool exists(const char *path);
  bool exists(const String &path) { return exists(path.c_str()); }
  bool remove(const char *path);
  bool remove(const String &path) { return remove(path.c_str()); }
  bool rename(const char *from, const char *to);
  bool rename(const String &from, const String &to) { return rename(from.c_str(), to.c_str()); }
  bool mkdir(const char *path);
};

}  // namespace fs

using fs::Dir;
using fs::File;
using fs::FS;
using fs::FSConfig;
using fs::FSInfo;
using fs::SeekCur;
using fs::SeekEnd;
using fs::SeekMode;
using fs::SeekSet;
