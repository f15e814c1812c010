/* libFuzzer's entry to the parsers of the device's library. The first byte of an input says which parser takes the rest,
 * the second how long the pieces are in which it comes. What must hold:
 *   - however an archive or a payload is cut into pieces, the verdict is the same;
 *   - the certificate decoder is not called again after it has reported an error (linked with --wrap);
 *   - a journal that loads is saved as the bytes it was loaded from, and any other is empty.
 */
#include <LittleFS.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "disk.h"
#include "otaseal/archive.h"
#include "otaseal/files.h"
#include "otaseal/persistent_state.h"
#include "otaseal/manifest.h"

using namespace otaseal;

extern "C" void __real_br_x509_decoder_push(br_x509_decoder_context *decoder, const void *data, size_t size);

extern "C" void __wrap_br_x509_decoder_push(br_x509_decoder_context *decoder, const void *data, size_t size) {
  const int error = br_x509_decoder_last_error(decoder);
  if (error != BR_ERR_X509_TRUNCATED) abort();
  __real_br_x509_decoder_push(decoder, data, size);
}

namespace {

void check(bool holds) {
  if (!holds) abort();
}

uint16_t certificates(const uint8_t *data, size_t size, size_t piece) {
  ArchiveCheck archive;
  archive.begin();
  for (size_t at = 0; at < size; at += piece) {
    archive.add(data + at, static_cast<uint32_t>(std::min(piece, size - at)));
  }
  return archive.finish();
}

bool manifest(const uint8_t *data, size_t size, size_t piece, Manifest &found) {
  Capture capture;
  capture.begin();
  for (size_t at = 0; at < size; at += piece) capture.add(data + at, std::min(piece, size - at));
  return capture.manifest(found);
}

void checkManifest(const uint8_t *data, size_t size, size_t piece) {
  Manifest whole, pieces;
  const bool has = manifest(data, size, std::max<size_t>(size, 1), whole);
  check(has == manifest(data, size, piece, pieces));
  if (!has) return;
  check(memcmp(whole.bytes, pieces.bytes, Manifest::SIZE) == 0);
  check(judge(whole, whole, Kind::Firmware) != Error::Counter);
}

void checkJournal(const uint8_t *data, size_t size) {
  disk.files.clear();
  disk.files[files::JOURNAL] = std::string(reinterpret_cast<const char *>(data), size);
  Journal journal;
  journal.load();
  static const Record empty = {};
  if (memcmp(&journal.record, &empty, sizeof empty) == 0) return;
  const std::string loaded = disk.files[files::JOURNAL];
  check(journal.save() && disk.files[files::JOURNAL] == loaded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = 1 + data[1];
  switch (data[0] % 3) {
    case 0: check(certificates(data + 2, size - 2, piece) == certificates(data + 2, size - 2, size)); break;
    case 1: checkManifest(data + 2, size - 2, piece); break;
    default: checkJournal(data + 2, size - 2); break;
  }
  return 0;
}
