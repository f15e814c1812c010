#if defined(ARDUINO_ARCH_ESP32)

#include "slot_update.h"

#include <Update.h>
#include <string.h>

#include "staged_trailer.h"

namespace otaseal {

static constexpr uint32_t WORD = 4;  // bytes: the length of the signature, at the end of the file
static constexpr uint32_t SECTOR = 4096, BLOCK = 65536;

static uint32_t trailer;  // that word; the lock lets one update in at a time

uint32_t stagedTrailer() { return trailer; }

bool SlotUpdate::isBusy() { return Update.isRunning(); }

bool SlotUpdate::find(Unfinished &left) {
  SlotJournal journal;
  if (!journal.load()) return false;
  left = journal.file;
  const esp_partition_t *slot = esp_ota_get_next_update_partition(nullptr);
  const bool noted = left.done < left.size && (left.done % NOTED == 0 || left.size - left.done <= HELD);
  if (left.tag[0] == '"' && noted && port::hasOtherSlot() && slot != nullptr && slot->subtype == journal.slot &&
      left.done <= slot->size) {
    return true;
  }
  forget();
  return false;
}

Error SlotUpdate::keep(const Unfinished &file, uint32_t from) {
  _journal.file = file;
  if (from == 0) return Error::None;
  if (!_journal.load()) return Error::Flash;
  _came = _written = from;
  _erased = (from + SECTOR - 1) / SECTOR * SECTOR;
  return open();
}

void SlotUpdate::discard(bool keeps) {
  if (_begun) Update.abort();
  _begun = false;
  if (!keeps) forget();
}

Error SlotUpdate::add(const uint8_t *data, size_t size) {
  Error error = Error::None;
  if (size > _size - _came) return Error::Http;
  _came += static_cast<uint32_t>(size);
  while (size > 0 && error == Error::None) {
    const size_t room = sizeof _window - _held, taken = size < room ? size : room;
    memcpy(_window + _held, data, taken);
    _held += static_cast<uint32_t>(taken);
    data += taken;
    size -= taken;
    if (_held == sizeof _window) error = pass();
  }
  return error;
}

// The core's updater cannot begin in the middle of a slot, so nothing is written by it. But while it believes that it
// has an update of ours, nobody else's gets into the slot (F126).
Error SlotUpdate::open() {
  port::Inspector inspector;
  inspector.begin();
  if (_written == 0) {
    inspector.add(_window, _held);
    if (inspector.error() != Error::None) return inspector.error();
    forget();
  }
  const uint32_t own = _gate.keyLength(false), next = _gate.keyLength(true);
  const uint32_t behind = Manifest::SIZE + (next != 0 && next < own ? next : own) + WORD;
  if (_size <= behind) return Error::Signature;
  if (!port::hasOtherSlot()) return Error::Space;
  _room = _size - behind;
  port::beforeWriting();
  _begun = Update.begin(_room);
  _slot = esp_ota_get_next_update_partition(nullptr);
  if (_begun) return Error::None;
  if (Update.isRunning()) return Error::Busy;
  return Update.hasError() ? failed(Update.getError()) : Error::Memory;
}

Error SlotUpdate::failed(int detail) {
  _detail = detail;
  switch (detail) {
    case UPDATE_ERROR_SPACE:
    case UPDATE_ERROR_SIZE:
    case UPDATE_ERROR_NO_PARTITION: return Error::Space;
    default: return Error::Flash;
  }
}

Error SlotUpdate::pass() {
  Error error = _begun ? Error::None : open();
  if (error == Error::None) error = write(_window, HELD);
  _held -= HELD;
  memmove(_window, _window + HELD, _held);
  if (error != Error::None || _written % NOTED != 0 || _journal.file.tag[0] == 0) return error;
  if (_written == NOTED) {
    _journal.slot = static_cast<uint8_t>(_slot->subtype);
    _journal.begin();
  }
  _journal.file.done = _written;
  _journal.note();
  return Error::None;
}

// In pieces that lie in one sector, and that a slot with encrypted flash takes, too.
Error SlotUpdate::write(const uint8_t *data, size_t size) {
  while (size > 0) {
    const size_t taken = size < HELD ? size : HELD, skipped = _written == 0 ? SlotJournal::FIRST : 0;
    if (taken > _slot->size - _written) return failed(UPDATE_ERROR_SPACE);
    if (_written == _erased && erase() != Error::None) return Error::Flash;
    if (taken < skipped) return Error::NotFirmware;
    if (_written == 0) memcpy(_journal.first, data, skipped);
    if (esp_partition_write(_slot, _written + skipped, data + skipped, taken - skipped) != ESP_OK) {
      return failed(UPDATE_ERROR_WRITE);
    }
    _written += static_cast<uint32_t>(taken);
    data += taken;
    size -= taken;
  }
  return Error::None;
}

// A whole block where that is all the image's: it takes a quarter of the time of its sectors.
Error SlotUpdate::erase() {
  const uint32_t size = _erased % BLOCK == 0 && _erased + BLOCK <= _room ? BLOCK : SECTOR;
  if (esp_partition_erase_range(_slot, _erased, size) != ESP_OK) return failed(UPDATE_ERROR_ERASE);
  _erased += size;
  return Error::None;
}

bool SlotUpdate::hashWritten() {
  uint8_t piece[256];
  _gate.hash.begin();
  if (_written > 0) _gate.hash.add(_journal.first, SlotJournal::FIRST);
  for (uint32_t at = SlotJournal::FIRST; at < _written;) {
    const uint32_t size = _written - at < sizeof piece ? _written - at : sizeof piece;
    if (esp_partition_read(_slot, at, piece, size) != ESP_OK) return false;
    _gate.hash.add(piece, size);
    at += size;
  }
  return true;
}

// `rest`: bytes of the payload that are still in the window.
Error SlotUpdate::judge(size_t &rest) {
  if (_held < Manifest::SIZE + WORD) return Error::Signature;
  const uint8_t *word = _window + _held - WORD;
  trailer = word[0] | word[1] << 8 | word[2] << 16 | static_cast<uint32_t>(word[3]) << 24;
  if (trailer == 0 || trailer != _gate.length() || _held < Manifest::SIZE + trailer + WORD) return Error::Signature;
  rest = _held - WORD - trailer;
  if (!hashWritten()) return failed(UPDATE_ERROR_READ);
  _gate.hash.add(_window, static_cast<uint32_t>(rest));
  _gate.hash.end();
  if (_gate.verify(&_gate.hash, _window + rest, trailer)) return Error::None;
  return _gate.error() != Error::None ? _gate.error() : Error::Signature;
}

// The verdict takes a second, and so does ESP-IDF's look at the slot. After a restart in there only what follows the image
// comes again, to be verified with it: nothing of the image is written by then, so that its first bytes never stand before
// others than their own.
Error SlotUpdate::finish() {
  size_t rest = 0;
  if (_came != _size) return Error::Truncated;
  Error error = judge(rest);
  if (error == Error::None && !_begun) error = open();
  if (error == Error::None) error = write(_window, rest - Manifest::SIZE);
  if (error != Error::None) return error;
  if (_journal.slot != 0) {  // its beginning was noted
    _journal.file.done = _written;
    _journal.note();
  }
  error = activate();
  if (error == Error::None) forget();
  return error;
}

// ESP-IDF looks at the slot as its boot loader does.
Error SlotUpdate::activate() {
  if (esp_partition_write(_slot, 0, _journal.first, SlotJournal::FIRST) != ESP_OK) return failed(UPDATE_ERROR_WRITE);
  Update.abort();
  _begun = false;
  return esp_ota_set_boot_partition(_slot) == ESP_OK ? Error::None : failed(UPDATE_ERROR_ACTIVATE);
}

}  // namespace otaseal

#endif
