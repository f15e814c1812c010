#include "installation.h"

#include <new>

#include "patch.h"

namespace otaseal {

static constexpr uint32_t SECTOR = 4096;  // bytes between two calls of onProgress()
static_assert(sizeof(void *) > 4 || sizeof(PatchDecoder) + Download::PIECE + sizeof Unfinished::tag <= 1536,
              "a patch is to take at most 1.5 KB of memory, with what is read of it and its name");

int Installation::detail() const {
  const int own = _staging != nullptr ? _staging->detail() : 0;
  return own != 0 ? own : _download.detail();
}

Error Installation::run() {
  const uint32_t from = _download.file().done;
  Error error = _download.read(_data, _held);
  if (error != Error::None) return error;
  _isPatch = port::PATCHES && from == 0 && PatchDecoder::isPatch(*_data);
  port::beforeTaking(_download.client());
  error = _isPatch ? decode() : copy(from);
  if (_staging == nullptr) return error;
  if (error == Error::None) error = _staging->finish();
  if (error != Error::None) _staging->discard(error == Error::Truncated && !_isPatch);
  return error;
}

Error Installation::open(uint32_t size) {
  _size = size;
  _staging.reset(new (std::nothrow) Staging(_gate, size));
  if (_progress != nullptr) _progress(0, size);
  return _staging != nullptr ? Error::None : Error::Memory;
}

// Of a patch nothing outlives a restart: where its decoder stands is in RAM.
Error Installation::copy(uint32_t from) {
  Error error = open(_download.file().size);
  if (error == Error::None) error = _staging->keep(_download.file(), from);
  _done = from;
  while (error == Error::None && _held > 0) {
    error = image(_data, _held);
    if (error == Error::None) error = _download.read(_data, _held);
  }
  return error;
}

// The decoder is gone before the signature is verified, which takes memory, too.
Error Installation::decode() {
  std::unique_ptr<PatchDecoder> decoder(new (std::nothrow) PatchDecoder(*this));
  if (decoder == nullptr) return Error::Memory;
  Error error = decoder->begin(port::sketchSize(), port::sketchMd5().c_str());
  if (error == Error::None) error = open(decoder->imageSize());
  return error == Error::None ? decoder->run() : error;
}

Error Installation::patch(const uint8_t *&data, size_t &size) {
  if (_held == 0) return _download.read(data, size);
  data = _data;
  size = _held;
  _held = 0;
  return Error::None;
}

bool Installation::base(uint32_t offset, void *buffer, size_t size) { return port::readSketch(offset, buffer, size); }

Error Installation::image(const uint8_t *data, size_t size) {
  const uint32_t before = _done;
  const Error error = _staging->add(data, size);
  _done += static_cast<uint32_t>(size);
  const bool sector = before / SECTOR != _done / SECTOR;
  if (sector && _isPatch) delay(1);  // a few bytes of it make all of an image: nobody else would run meanwhile
  if (error == Error::None && _progress != nullptr && (sector || _done == _size)) _progress(_done, _size);
  return error;
}

}  // namespace otaseal
