/* The ends of a decoder of patches, in memory. What breaks what patch_io.h says ends the program: a read outside of the
 * base, more than is announced, bytes before the base is known to be right, another call after an error.
 */
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "otaseal/patch.h"

using otaseal::Error;

constexpr Error BROKEN[] = {Error::None, Error::Connect, Error::Flash, Error::Space};

inline void check(bool holds, const char *what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// Each buffer is an allocation of its own and of its own size, so that a sanitizer sees a byte too much.
struct Ends : otaseal::PatchIo {
  Error patch(const uint8_t *&data, size_t &size) override {
    const Error error = next(1);
    size = std::min<size_t>(piece, patchBytes.size() - at);
    held.reset(new uint8_t[size]);
    std::memcpy(held.get(), patchBytes.data() + at, size);
    at += size;
    data = held.get();
    return error;
  }

  bool base(uint32_t offset, void *buffer, size_t size) override {
    check(decoding, "the base is read before it is known to be right");
    check(offset % 4 == 0 && reinterpret_cast<uintptr_t>(buffer) % 4 == 0, "a read that is not aligned");
    check(offset <= baseBytes.size() && size <= baseBytes.size() - offset, "a read outside of the base");
    std::memcpy(buffer, baseBytes.data() + offset, size);
    return next(2) == Error::None;
  }

  Error image(const uint8_t *data, size_t size) override {
    check(decoding && size > 0 && size <= announced - made.size(), "more than is announced");
    made.append(reinterpret_cast<const char *>(data), size);
    return made.size() > room ? Error::Space : next(3);
  }

  // Decodes the whole patch for a sketch that is the base, and which the device knows by this MD5.
  Error decode(const std::string &md5) {
    const std::unique_ptr<otaseal::PatchDecoder> decoder(new otaseal::PatchDecoder(*this));
    Error error = decoder->begin(static_cast<uint32_t>(baseBytes.size()), md5.c_str());
    if (error != Error::None) return error;
    announced = decoder->imageSize();
    decoding = true;
    error = decoder->run();
    const bool whole = made.size() == announced && at == patchBytes.size();
    check(error != Error::None || whole, "no error, and not the whole image or patch");
    return error;
  }

  Error next(uint32_t end) {
    check(!broken, "a call after an error");
    broken = fault == end && --calls == 0;
    return broken ? BROKEN[end] : Error::None;
  }

  std::string baseBytes, patchBytes, made;
  std::unique_ptr<uint8_t[]> held;
  size_t at = 0;
  uint32_t piece = 1, fault = 0, calls = 0, announced = 0, room = UINT32_MAX;
  bool decoding = false, broken = false;
};
