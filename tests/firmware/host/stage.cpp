// How the cores that ask a verifier are given an image.
#include <otaseal/update_verifier.h>

#include "device.h"

bool stage(const std::string &image, otaseal::Gate &gate) {
  std::string copy = image;
  forgetStaged();
  gate.reset();
  return Update.begin(copy.size()) &&
         Update.write(reinterpret_cast<uint8_t *>(&copy[0]), copy.size()) == copy.size() && Update.end() && isStaged();
}
