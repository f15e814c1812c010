#include "persistent_state.h"

#include <stddef.h>
#include <string.h>

#include "files.h"
#include "crypto.h"

namespace otaseal {

// "OSJ1", and the numbers little-endian.
static constexpr char MAGIC[] = {'O', 'S', 'J', '1'};
static constexpr size_t SIZE = 4 + 4 + 4 + 1 + 16 + 8 + CHECKSUM;

static void putWord(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = static_cast<uint8_t>(value >> 8 * i);
}

static uint32_t getWord(const uint8_t *at) {
  return at[0] | at[1] << 8 | at[2] << 16 | static_cast<uint32_t>(at[3]) << 24;
}

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
  memset(bytes, 0, 16);
  if (strlen(text) != 32) return false;
  for (int i = 0; i < 32; i++) {
    const char c = text[i] | 0x20;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) {
      memset(bytes, 0, 16);
      return false;
    }
    bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | digit);
  }
  return true;
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
  record.time = getWord(data + 4);
  record.certificates = getWord(data + 8);
  record.attempts = data[12];
  memcpy(record.transfer, data + 13, sizeof record.transfer);
  memcpy(record.payload, data + 29, sizeof record.payload);
}

bool Journal::save() const {
  uint8_t data[SIZE];
  memcpy(data, MAGIC, sizeof MAGIC);
  putWord(data + 4, record.time);
  putWord(data + 8, record.certificates);
  data[12] = record.attempts;
  memcpy(data + 13, record.transfer, sizeof record.transfer);
  memcpy(data + 29, record.payload, sizeof record.payload);
  return replaceSealed(files::JOURNAL, data, SIZE);
}

}  // namespace otaseal
