#include "persistent_state.h"

#include <stddef.h>
#include <string.h>

#include "files.h"
#include "crypto.h"

namespace otaseal {

// "OSJ1", and a record as it lies in memory: chips and hosts are little-endian, as the file is.
static constexpr char MAGIC[] = {'O', 'S', 'J', '1'};
static constexpr size_t RECORD = 4 + 4 + 1 + 16 + 8, SIZE = sizeof MAGIC + RECORD + CHECKSUM;
static_assert(offsetof(Record, payload) + sizeof Record::payload == RECORD, "it has no gap");

bool readSealed(const char *path, void *data, size_t size) {
  uint8_t hash[Sha256::SIZE];
  if (files::read(path, data, size) != size) return false;
  Sha256::of(data, size - CHECKSUM, hash);
  return memcmp(hash, static_cast<uint8_t *>(data) + size - CHECKSUM, CHECKSUM) == 0;
}

bool replaceSealed(const char *path, void *data, size_t size) {
  uint8_t hash[Sha256::SIZE];
  Sha256::of(data, size - CHECKSUM, hash);
  memcpy(static_cast<uint8_t *>(data) + size - CHECKSUM, hash, CHECKSUM);
  return files::replace(path, data, size);
}

bool parseMd5(const char *text, uint8_t *bytes) {
  uint8_t i = 0;
  for (; i < 32; i++) {
    const char c = text[i] | 0x20;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | digit);
  }
  if (i == 32 && text[i] == 0) return true;
  memset(bytes, 0, 16);
  return false;
}

bool Record::exhausted(const uint8_t *payloadHash) const {
  return attempts >= MOST_ATTEMPTS && memcmp(payload, payloadHash, sizeof payload) == 0;
}

bool Record::exhaustedTransfer(const uint8_t *md5) const {
  uint8_t any = 0;
  for (const uint8_t byte : transfer) any |= byte;
  return attempts >= MOST_ATTEMPTS && any != 0 && memcmp(transfer, md5, sizeof transfer) == 0;
}

void Record::note(const uint8_t *payloadHash, const uint8_t *md5) {
  if (memcmp(payload, payloadHash, sizeof payload) != 0) attempts = 0;
  if (attempts < MOST_ATTEMPTS) attempts++;
  memcpy(payload, payloadHash, sizeof payload);
  memcpy(transfer, md5, sizeof transfer);
}

void Journal::load() {
  uint8_t data[SIZE];
  record = {};
  if (!readSealed(files::JOURNAL, data, SIZE) || memcmp(data, MAGIC, sizeof MAGIC) != 0) return;
  memcpy(&record, data + sizeof MAGIC, RECORD);
}

bool Journal::save() const {
  uint8_t data[SIZE];
  memcpy(data, MAGIC, sizeof MAGIC);
  memcpy(data + sizeof MAGIC, &record, RECORD);
  return replaceSealed(files::JOURNAL, data, SIZE);
}

}  // namespace otaseal
