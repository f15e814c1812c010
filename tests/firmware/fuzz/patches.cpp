/* libFuzzer's entry to the decoder of patches. An input is a patch for the base in the file that OTASEAL_BASE names,
 * whose MD5 is OTASEAL_BASE_MD5. It comes whole, and in pieces whose size its own size says: that must make no
 * difference. What else must hold stands in ends.h.
 */
#include <fstream>
#include <iterator>

#include "../patch/ends.h"

namespace {

constexpr uint32_t ROOM = 32 * 1024;  // bytes of an image: more of them find nothing new

struct Device {
  Device() {
    std::ifstream file(std::getenv("OTASEAL_BASE"), std::ios::binary);
    base.assign(std::istreambuf_iterator<char>(file), {});
  }

  Error decode(const std::string &patch, size_t piece, std::string &made) const {
    Ends ends;
    ends.baseBytes = base;
    ends.patchBytes = patch;
    ends.piece = static_cast<uint32_t>(piece);
    ends.room = ROOM;
    const Error error = ends.decode(md5);
    made = ends.made;
    return error;
  }

  std::string base, md5 = std::getenv("OTASEAL_BASE_MD5");
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Device device;
  const std::string patch(reinterpret_cast<const char *>(data), size);
  std::string whole, pieces;
  const Error error = device.decode(patch, size + 1, whole);
  check(error == device.decode(patch, 1 + size % 97, pieces) && whole == pieces, "pieces make a difference");
  return 0;
}
