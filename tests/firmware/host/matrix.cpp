/* Proofs that need no server: what the gate lets through, byte for byte, and what a power cut leaves.
 *
 *   matrix verdicts KEY NEXT|- IDENTITIES IMAGES   files of 64-byte identities, and of u32-prefixed signed images; prints a
 *                                                  line of error numbers an identity, "0" for what was staged
 *   matrix mutate KEY IDENTITY IMAGES COUNT SEED   stages COUNT mutations of these; prints "accepted N, different M": M
 *                                                  are those whose staged bytes are not the payload of one of them
 *   matrix bytes KEY IDENTITY IMAGES STEP   stages the first of these with all bytes of its signature, and all of its
 *                                           manifest, given each value; then with each byte of both and of the length word
 *                                           alone given every STEPth value; prints "tried N, accepted M"
 *   matrix cut KEY IDENTITY OLD NEW SIGNED COUNT SEED   cuts the power COUNT times while SIGNED, whose archive is NEW,
 *                                                  replaces OLD; prints how often which one was there afterwards
 *   matrix install KEY IDENTITY CERTS SIGNED COUNT SEED [BASE]   cuts the power COUNT times while a device with CERTS, which
 *                                                  runs BASE, installs SIGNED, perhaps a patch; prints how often the boot loader finds nothing, or the whole
 *                                                  of it, and what must never be
 *   matrix resume KEY IDENTITY CERTS SIGNED COUNT SEED   COUNT devices with CERTS download SIGNED, and the power fails up
 *                                                  to eight times meanwhile, at any operation on flash or any byte that
 *                                                  comes; prints how often it failed, what came, and what must never be
 *   matrix renew KEY IDENTITY CERTS OLD_KEY OLD NEW_KEY NEW TIME REPLACES   cuts the power before each operation while a device with CERTS
 *                                                  and the pair OLD gets the certificate NEW for the key it has asked with;
 *                                                  prints which pair it started with afterwards, and what must never be
 */
#include <OtaSeal.h>

#include <iostream>
#include <random>
#include <set>
#include <sstream>

#include "chip.h"
#include "device.h"
#include "disk.h"

#undef time

namespace {

using Image = std::string;
std::mt19937 noise;

uint32_t below(size_t limit) { return limit ? static_cast<uint32_t>(noise() % limit) : 0; }

std::vector<Image> load(const std::string &path) {
  const std::string all = readFile(path);
  std::vector<Image> images;
  for (size_t at = 0; at + 4 <= all.size();) {
    uint32_t size;
    memcpy(&size, all.data() + at, 4);
    images.push_back(all.substr(at + 4, size));
    at += 4 + size;
  }
  return images;
}

otaseal::Build makeBuild(const char *identity, const std::string &key, const std::string &next) {
  return {reinterpret_cast<const uint8_t *>(identity), "1.0", key.c_str(), next.empty() ? nullptr : next.c_str(), 0};
}

int verdicts(char **argv) {
  const std::string key = readFile(argv[0]), next = strcmp(argv[1], "-") != 0 ? readFile(argv[1]) : "";
  const std::string identities = readFile(argv[2]);
  const std::vector<Image> images = load(argv[3]);
  for (size_t at = 0; at + 64 <= identities.size(); at += 64) {
    const otaseal::Build build = makeBuild(identities.data() + at, key, next);
    otaseal::Gate gate(build);
    gate.install();
    for (const Image &image : images) {
      const bool taken = stage(image, gate);
      const int error = static_cast<int>(gate.error());
      std::cout << (taken ? 0 : error ? error : static_cast<int>(otaseal::Error::Signature)) << ' ';
    }
    std::cout << '\n';
  }
  return 0;
}

void putWord(Image &image, size_t at, uint32_t value) {
  if (at + 4 <= image.size()) memcpy(&image[at], &value, 4);
}

constexpr size_t TRAILER = 256 + 4, MANIFEST = 64;

// What the gate decides by, and a small share of all bytes: signature, its length, manifest. Only those bytes change, so
// that nothing else is a reason to refuse.
Image mutateDecisive(Image image) {
  const size_t signature = image.size() - TRAILER, parts[] = {signature, image.size() - 4, signature - MANIFEST};
  const size_t sizes[] = {TRAILER - 4, 4, MANIFEST};
  const uint32_t part = below(3);
  for (uint32_t times = 1 + below(3); times > 0; times--) {
    char &byte = image[parts[part] + below(sizes[part])];
    byte = static_cast<char>(below(2) ? noise() : byte ^ 1 << below(8));
  }
  return image;
}

Image mutate(const std::vector<Image> &all) {
  Image image = all[below(all.size())];
  if (below(3) == 0) return mutateDecisive(image);
  const Image &other = all[below(all.size())];
  const size_t trailer = image.size() - TRAILER, manifest = trailer - MANIFEST;
  for (uint32_t times = 1 + below(3); times > 0; times--) {
    const size_t at = below(image.size()), size = 1 + below(64);
    switch (below(11)) {
      case 0: image[at] = static_cast<char>(image[at] ^ 1 << below(8)); break;
      case 1: image[at] = static_cast<char>(noise()); break;
      case 2: image.resize(at + 1); break;
      case 3: image.append(size, static_cast<char>(noise())); break;
      case 4: image.insert(at, size, static_cast<char>(noise())); break;
      case 5: image.erase(at, size); break;
      case 6: image.replace(at, size, other, below(other.size()), size); break;
      case 7: image = image.substr(0, at) + other.substr(std::min<size_t>(at, other.size())); break;
      case 8: putWord(image, image.size() < 4 ? 0 : image.size() - 4, below(2) ? 256 : noise()); break;
      case 9: image[std::min(manifest + below(64), image.size() - 1)] = static_cast<char>(noise()); break;
      case 10: image += other; break;
    }
    if (image.empty()) image = "\xe9";
  }
  return image;
}

int mutations(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]);
  const std::vector<Image> images = load(argv[2]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  otaseal::Gate gate(build);
  gate.install();
  std::set<Image> payloads;
  for (const Image &image : images) {
    if (!stage(image, gate)) return 3;  // each is good as it is
    payloads.insert(staged());
  }
  noise.seed(static_cast<uint32_t>(std::stoul(argv[4])));
  unsigned long accepted = 0, different = 0;
  for (unsigned long i = std::stoul(argv[3]); i > 0; i--) {
    if (!stage(mutate(images), gate)) continue;
    accepted++;
    if (payloads.count(staged()) == 0) different++;
  }
  std::cout << "accepted " << accepted << ", different " << different << std::endl;
  return 0;
}

// A way past the gate may hang on a single value of a single byte, which chance hardly ever meets.
int bytes(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]);
  const Image good = load(argv[2]).front();
  const size_t step = std::stoul(argv[3]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  otaseal::Gate gate(build);
  gate.install();
  if (!stage(good, gate)) return 3;
  const size_t manifest = good.size() - TRAILER - MANIFEST;
  unsigned long tried = 0, accepted = 0;
  const auto attempt = [&](size_t at, size_t size, size_t value) {
    Image image = good;
    image.replace(at, size, size, static_cast<char>(value));
    if (image == good) return;
    tried++;
    if (stage(image, gate)) accepted++;
  };
  for (size_t value = 0; value < 256; value++) {
    attempt(manifest + MANIFEST, TRAILER - 4, value);
    attempt(manifest, MANIFEST, value);
  }
  for (size_t i = 0; i < (MANIFEST + TRAILER) * 256; i += step) attempt(manifest + i / 256, 1, i % 256);
  std::cout << "tried " << tried << ", accepted " << accepted << std::endl;
  return 0;
}

// Whatever is in RAM is gone.
void restart() {
  chip.start();
  restartUpdater();
}

bool enrols = false;

// One life of the device, until it is up to date or the power fails; false where it could not start.
bool live(const otaseal::Build &build, bool &cut) {
  OtaSeal device("localhost", 1, "blink", nullptr, build);
  if (enrols) device.claim();
  cut = false;
  try {
    if (!device.begin()) return false;
    device.pollNow();
    for (int i = 0; i < 45 && !chip.restarted; i++) {
      device.poll();
      delay(1000);
    }
  } catch (const PowerCut &) {
    cut = true;
  }
  return true;
}

int cuts(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]);
  const std::string before = readFile(argv[2]), after = readFile(argv[3]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  canned = {true, "certs.ar.signed", readFile(argv[4]), "", "", 0};
  noise.seed(static_cast<uint32_t>(std::stoul(argv[6])));
  bool cut;
  for (int i = 0; i < 2; i++) {  // the first time makes what stays, as the device's secret in NVS: the second one counts
    disk = Disk();
    disk.files = {{"/certs.ar", before}};
    restart();
    if (!live(build, cut) || cut || disk.files["/certs.ar"] != after) return 3;
  }
  const uint64_t operations = disk.operations;
  unsigned long old = 0, renewed = 0, neither = 0, unusable = 0, stuck = 0;
  const unsigned long count = std::stoul(argv[5]);
  for (unsigned long i = 0; i < count; i++) {
    disk = Disk();
    disk.files = {{"/certs.ar", before}};
    disk.torn = i % 2 != 0;
    disk.cutAt = i % 10 < 2 ? operations - below(4)  // about the rename, where that is the last that is done
                            : 1 + (i / 2 < operations ? i / 2 * operations / (count / 2 + 1) : below(operations));
    restart();
    live(build, cut);
    if (!cut) return 3;
    const std::string &left = disk.files["/certs.ar"];
    (left == before ? old : left == after ? renewed : neither)++;
    disk.dead = false;
    disk.cutAt = 0;
    restart();
    if (!live(build, cut)) unusable++;  // the next start, with whatever lies around
    if (disk.files["/certs.ar"] != after || disk.files.count("/certs.new")) stuck++;
  }
  std::cout << "operations " << operations << ", old " << old << ", new " << renewed << ", neither " << neither
            << ", unusable " << unusable << ", stuck " << stuck << std::endl;
  return 0;
}

// Cuts that are spread over all of it, and as many near the end, where an order is given, or is just complete.
uint64_t cutWithin(uint64_t operations, unsigned long i) {
  if (i / 2 % 2 == 0) return 1 + below(operations);
  return operations - below(i / 4 % 2 ? 1000 : 4);
}

int installs(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]), certificates = readFile(argv[2]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  canned = {true, "firmware.bin.signed", readFile(argv[3]), "", "", 0};
  noise.seed(static_cast<uint32_t>(std::stoul(argv[5])));
  if (argv[6] != nullptr) {
    const Image base = readFile(argv[6]);
    std::copy(base.begin(), base.end(), chip.flash.begin());
    chip.sketchSize = static_cast<uint32_t>(base.size());
  }
  disk.files = {{"/certs.ar", certificates}};
  bool cut;
  if (!live(build, cut) || cut || !isStaged()) return 3;
  const Image payload = staged();
  const uint64_t operations = disk.operations;
  unsigned long none = 0, whole = 0, wrong = 0, lost = 0, stuck = 0;
  const unsigned long count = std::stoul(argv[4]);
  for (unsigned long i = 0; i < count; i++) {
    disk = Disk();
    disk.files = {{"/certs.ar", certificates}};
    disk.torn = i % 2 != 0;
    disk.cutAt = cutWithin(operations, i);
    restart();
    live(build, cut);
    if (!cut) return 3;
    (!isStaged() ? none : staged() == payload ? whole : wrong)++;
    disk.dead = false;
    disk.cutAt = 0;
    restart();  // the boot loader carries nothing out here: the device finds itself with all that lies around
    if (!live(build, cut) || !isStaged() || staged() != payload) stuck++;
    if (disk.files["/certs.ar"] != certificates) lost++;
  }
  std::cout << "operations " << operations << ", none " << none << ", whole " << whole << ", wrong " << wrong << ", lost "
            << lost << ", stuck " << stuck << std::endl;
  return 0;
}

// A device as it comes out of the factory.
void provision(const std::string &certificates, bool torn) {
  disk = Disk();
  disk.files = {{"/certs.ar", certificates}};
  disk.torn = torn;
  chip.nvs.clear();
  std::fill(chip.slot.begin(), chip.slot.end(), 0xff);
  forgetStaged();
}

int resumptions(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]), certificates = readFile(argv[2]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  canned = {true, "firmware.bin.signed", readFile(argv[3]), "", "\"one\"", 0};
  noise.seed(static_cast<uint32_t>(std::stoul(argv[5])));
  provision(certificates, false);
  bool cut;
  if (!live(build, cut) || cut || !isStaged()) return 3;
  const Image payload = staged();
  const uint64_t operations = disk.operations;
  const uint32_t once = chip.given;
  unsigned long failures = 0, stuck = 0, wrong = 0, lost = 0;
  const unsigned long count = std::stoul(argv[4]);
  chip.given = 0;
  for (unsigned long i = 0; i < count; i++) {
    provision(certificates, i % 2 != 0);
    for (uint32_t left = 1 + below(8); left > 0 && !isStaged(); left--) {
      disk.operations = 0;
      disk.cutAt = left % 2 != 0 ? 1 + below(operations) : 0;
      chip.cutAfter = left % 2 != 0 ? 0 : chip.given + 1 + below(once);
      restart();
      live(build, cut);
      if (cut) failures++;
      if (startable() && staged() != payload) wrong++;
      disk.dead = false;
    }
    disk.cutAt = chip.cutAfter = 0;
    if (!isStaged()) {
      restart();
      if (!live(build, cut) || !isStaged() || staged() != payload) stuck++;
    }
    if (disk.files["/certs.ar"] != certificates) lost++;
  }
  std::cout << "operations " << operations << ", failures " << failures << ", once " << once << ", came " << chip.given
            << ", wrong " << wrong << ", stuck " << stuck << ", lost " << lost << std::endl;
  return 0;
}

// As it is after a start, which ends what was interrupted.
const char *pairAfterStart(const otaseal::Build &build, const std::map<std::string, std::string> &before,
                           const std::map<std::string, std::string> &after) {
  restart();
  OtaSeal device("localhost", 1, "blink", nullptr, build);
  device.claim();
  if (!device.begin() || device.lastError() != otaseal::Error::None) return "unusable";
  const auto is = [](const std::map<std::string, std::string> &pair) {
    for (const auto &file : pair) {
      if (disk.files[file.first] != file.second) return false;
    }
    return true;
  };
  return is(before) ? "old" : is(after) ? "new" : "mixed";
}

int renewals(char **argv) {
  const std::string key = readFile(argv[0]), identity = readFile(argv[1]), certificates = readFile(argv[2]);
  const otaseal::Build build = makeBuild(identity.data(), key, "");
  const std::map<std::string, std::string> before = {{"/client.key", readFile(argv[3])}, {"/client.crt", readFile(argv[4])}};
  const std::map<std::string, std::string> after = {{"/client.key", readFile(argv[5])}, {"/client.crt", readFile(argv[6])}};
  canned = {true, "client.crt", readFile(argv[6]), "1 enroll", "", 0};
  chip.networkTime = static_cast<uint32_t>(std::stoul(argv[7]));
  enrols = true;
  std::map<std::string, unsigned long> found;
  for (uint64_t at = 1;; at++) {
    const bool replaces = at % 2 == 0 || std::stoul(argv[8]) != 0;
    disk = Disk();
    disk.files = before;
    disk.files["/certs.ar"] = certificates;
    disk.files["/client.key.new"] = after.at("/client.key");
    disk.replaces = replaces;
    disk.torn = at % 3 == 0;
    disk.cutAt = at;
    restart();
    bool cut;
    live(build, cut);
    if (!cut) break;
    disk.dead = false;
    disk.cutAt = 0;
    found[pairAfterStart(build, before, after)]++;
    restart();
    live(build, cut);
    if (disk.files["/client.key"] != after.at("/client.key") || disk.files["/client.crt"] != canned.body ||
        disk.files.count("/client.key.new") || disk.files.count("/client.crt.new")) {
      found["stuck"]++;
    }
  }
  for (const char *name : {"old", "new", "mixed", "unusable", "stuck"}) std::cout << name << ' ' << found[name] << ", ";
  std::cout << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "verdicts" && argc == 6) return verdicts(argv + 2);
  if (what == "mutate" && argc == 7) return mutations(argv + 2);
  if (what == "bytes" && argc == 6) return bytes(argv + 2);
  if (what == "cut" && argc == 9) return cuts(argv + 2);
  if (what == "install" && (argc == 8 || argc == 9)) return installs(argv + 2);
  if (what == "resume" && argc == 8) return resumptions(argv + 2);
  if (what == "renew" && argc == 11) return renewals(argv + 2);
  std::cerr << "see the top of matrix.cpp\n";
  return 2;
}
