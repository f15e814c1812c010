// An update on its way from a download into flash, by way of the decoder where a patch comes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>

#include "download.h"
#include "patch_io.h"
#include "staging.h"

namespace otaseal {

class Installation final : private PatchIo {
 public:
  using ProgressCallback = void (*)(size_t done, size_t total);  // bytes of the signed image

  // The download has begun, and nothing of it has been read.
  Installation(Gate &gate, Download &download, ProgressCallback progress)
      : _gate(gate), _download(download), _progress(progress) {}

  Error run();                               // None: verified, and what the boot loader carries out next
  bool isPatch() const { return _isPatch; }  // what has come
  int detail() const;                        // of the last error: the updater's number or the download's; 0: none

 private:
  Error copy(uint32_t from);
  Error decode();
  Error open(uint32_t size);
  Error patch(const uint8_t *&data, size_t &size) override;
  bool base(uint32_t offset, void *buffer, size_t size) override;
  Error image(const uint8_t *data, size_t size) override;

  Gate &_gate;
  Download &_download;
  const ProgressCallback _progress;
  std::unique_ptr<Staging> _staging;
  const uint8_t *_data = nullptr;  // read, and not passed on yet
  size_t _held = 0;
  uint32_t _size = 0, _done = 0;  // bytes of the signed image
  bool _isPatch = false;
};

}  // namespace otaseal
