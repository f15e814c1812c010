/* The library's decoder of patches on the host, for many cases at once: decode CASES RESULTS
 *
 * A case is six 32-bit words and what they announce: how many bytes of the patch come at once, which of the three ends
 * breaks (1: the patch, 2: the base, 3: the image) and at which of its calls, the sizes of what follows, and then the
 * digits of the base's MD5, the base, the patch. A result is the error, how many bytes came out, and these.
 */
#include <fstream>
#include <iterator>

#include "ends.h"

namespace {

struct Cases {
  explicit Cases(const char *path) {
    std::ifstream file(path, std::ios::binary);
    data.assign(std::istreambuf_iterator<char>(file), {});
  }

  uint32_t number() {
    uint32_t value;
    std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
    return value;
  }

  std::string bytes(size_t size) {
    check(data.size() - at >= size, "half a case");
    at += size;
    return data.substr(at - size, size);
  }

  std::string data;
  size_t at = 0;
};

void put(std::ofstream &to, uint32_t value) { to.write(reinterpret_cast<const char *>(&value), sizeof value); }

void decode(Cases &cases, std::ofstream &results) {
  Ends ends;
  ends.piece = cases.number();
  ends.fault = cases.number();
  ends.calls = cases.number();
  const uint32_t digits = cases.number(), base = cases.number(), patch = cases.number();
  const std::string md5 = cases.bytes(digits);
  ends.baseBytes = cases.bytes(base);
  ends.patchBytes = cases.bytes(patch);
  put(results, static_cast<uint32_t>(ends.decode(md5)));
  put(results, static_cast<uint32_t>(ends.made.size()));
  results << ends.made;
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 3) return 2;
  Cases cases(arguments[1]);
  std::ofstream results(arguments[2], std::ios::binary);
  while (cases.at < cases.data.size()) decode(cases, results);
  std::printf("%zu\n", sizeof(otaseal::PatchDecoder));
  return results.flush() ? 0 : 1;
}
