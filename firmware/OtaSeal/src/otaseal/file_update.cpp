#if defined(ARDUINO_ARCH_RP2040)

#include "file_update.h"

#include <PicoOTA.h>
#include <Updater.h>
#include <string.h>

#include <memory>
#include <new>

#include "files.h"

namespace otaseal {

static constexpr char CONTENT[] = "/otaseal.bin", NAME[] = "/otaseal.dl";
static constexpr uint32_t WORD = 4;  // bytes: the length of the signature, at the end of the file

// It may be whole, or without its trailer, where the power failed at the very end: one byte is left to be asked for.
bool FileUpdate::find(Unfinished &left) {
  const uint32_t there = static_cast<uint32_t>(files::size(CONTENT));
  if (there > 0 && files::read(NAME, &left, sizeof left) == sizeof left && left.tag[0] == '"' && left.size > 1) {
    left.tag[sizeof left.tag - 1] = 0;
    left.done = there < left.size ? there : left.size - 1;
    return true;
  }
  forget();
  return false;
}

void FileUpdate::takeBack() {
  if (files::size(NAME) > 0 && files::size(CONTENT) == 0) files::rename(port::IMAGE, CONTENT);
}

void FileUpdate::forget() {
  files::discard(NAME);
  files::discard(CONTENT);
}

Error FileUpdate::keep(const Unfinished &file, uint32_t from) {
  _file = file;
  _file.done = from;
  return from > 0 ? open() : Error::None;
}

// Without a name there is nothing to go on with, so that comes first.
void FileUpdate::discard(bool keeps) {
  if (!keeps) files::discard(NAME);
  _content.close();
  if (!keeps) forget();
  if (Update.isRunning()) {
    Update.end();
    port::discardFailed();
  }
}

Error FileUpdate::full() {
  _detail = UPDATE_ERROR_SPACE;
  return Error::Space;
}

Error FileUpdate::open() {
  if (Update.isRunning()) return Error::Busy;  // by what the sketch does between two polls
  port::beforeWriting();
  if (_file.done == 0) forget();
  if (_size > port::filesystemSize()) return full();
  if (_file.done == 0 && _file.tag[0] != 0) files::replace(NAME, &_file, sizeof _file);
  _content = files::system().open(CONTENT, _file.done > 0 ? "r+" : "w+");
  if (!_content || !_content.seek(_file.done)) return full();
  _came = _file.done;
  return Error::None;
}

Error FileUpdate::add(const uint8_t *data, size_t size) {
  if (size > _size - _came) return Error::Http;
  if (!_content) {
    const Error error = open();
    if (error != Error::None) return error;
  }
  if (_content.write(data, size) != size) return full();
  const uint32_t before = _came;
  _came += static_cast<uint32_t>(size);
  if (before / FLUSHED != _came / FLUSHED && _file.tag[0] != 0) _content.flush();
  return Error::None;
}

bool FileUpdate::read(uint32_t at, void *data, size_t size) {
  return _content.seek(at) && static_cast<size_t>(_content.read(static_cast<uint8_t *>(data), size)) == size;
}

// `payload`: bytes that are signed.
Error FileUpdate::judge(uint32_t &payload) {
  uint8_t word[WORD], piece[128];
  if (_size <= WORD || !read(_size - WORD, word, WORD)) return Error::Signature;
  const uint32_t trailer = word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
  if (trailer == 0 || trailer != _gate.length() || _size < trailer + WORD) return Error::Signature;
  payload = _size - WORD - trailer;
  const std::unique_ptr<uint8_t[]> signature(new (std::nothrow) uint8_t[trailer]);
  if (signature == nullptr) return Error::Memory;
  if (!read(payload, signature.get(), trailer) || !_content.seek(0)) return Error::Flash;
  _gate.hash.begin();
  for (uint32_t at = 0; at < payload;) {
    const uint32_t size = payload - at < sizeof piece ? payload - at : sizeof piece;
    if (static_cast<uint32_t>(_content.read(piece, size)) != size) return Error::Flash;
    _gate.hash.add(piece, size);
    at += size;
  }
  _gate.hash.end();
  if (_gate.verify(&_gate.hash, signature.get(), trailer)) return Error::None;
  return _gate.error() != Error::None ? _gate.error() : Error::Signature;
}

// In a full filesystem it may not be possible to cut off the trailer, or to write the order, and nobody says so.
Error FileUpdate::finish() {
  uint32_t payload = 0;
  if (_came != _size) return Error::Truncated;
  const Error error = judge(payload);
  if (error != Error::None) return error;
  const bool cut = _content.truncate(payload);
  _content.close();
  if (!cut || files::size(CONTENT) != payload || !files::rename(CONTENT, port::IMAGE)) return full();
  picoOTA.begin();
  picoOTA.addFile(port::IMAGE + 1);
  picoOTA.commit();
  if (port::isStaged(_gate.hash.inspector)) {
    files::discard(NAME);
    return Error::None;
  }
  port::beforeWriting();
  return full();
}

}  // namespace otaseal

#endif
