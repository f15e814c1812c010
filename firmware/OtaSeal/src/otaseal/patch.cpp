#include "patch.h"

#include <string.h>

namespace otaseal {

static constexpr uint32_t MAGIC = 0x5361744f, MAGIC_END = 0x446c6165;  // "OtaSealD": a string would lie in RAM
static constexpr uint8_t FORMAT = 1;
static constexpr uint8_t FORMAT_AT = 8, SHIFTS_AT = 9, RUNS_AT = 10, SET_AT = 11;
static constexpr uint8_t BASE_AT = 12, MD5_AT = 16, IMAGE_AT = 32;
static constexpr uint8_t MD5 = 16;
static constexpr uint8_t RATE = 4, DIFFERENCE_RATE = 3;
static constexpr uint32_t WORD = 4;  // bytes

// Chips and hosts are little-endian, as the format is; `bytes` is aligned.
static uint32_t wordAt(const uint8_t *bytes) {
  uint32_t value;
  memcpy(&value, __builtin_assume_aligned(bytes, WORD), WORD);
  return value;
}

static bool isMd5(const uint8_t *md5, const char *digits) {
  for (uint8_t i = 0; i < 2 * MD5; i++) {
    const uint8_t half = i & 1 ? md5[i / 2] & 15 : md5[i / 2] >> 4;
    if (digits[i] != (half < 10 ? '0' : 'a' - 10) + half) return false;  // where they are fewer, at the 0 behind them
  }
  return true;
}

PatchDecoder::PatchDecoder(PatchIo &io) : _coder(io), _io(io) {
  memset(_missed, 0, sizeof _missed);
  memset(&_chances, RangeDecoder::HALF, sizeof _chances);
}

Error PatchDecoder::begin(uint32_t baseSize, const char *baseMd5) {
  for (uint8_t i = 0; i < HEADER; i++) _window[i] = _coder.byte();
  _coder.fail(header(baseSize, baseMd5));
  const uint8_t shifts = _window[SHIFTS_AT];
  if (!_coder.failed()) {
    memset(_window, RangeDecoder::HALF, 2 * RangeDecoder::NUMBER);
    _coder.begin();
    readRuns();
    readShifts(shifts);
  }
  return _coder.error();
}

Error PatchDecoder::header(uint32_t baseSize, const char *baseMd5) {
  const uint8_t *head = _window;
  _imageSize = wordAt(head + IMAGE_AT);
  _runCount = head[RUNS_AT];
  if (wordAt(head) != MAGIC || wordAt(head + WORD) != MAGIC_END || head[FORMAT_AT] != FORMAT) return Error::Patch;
  const uint8_t set = _runCount > 0 ? Instructions::NUMBER : 0;
  if (head[SHIFTS_AT] > AddressMap::LIMIT || _runCount > RUNS || head[SET_AT] != set) return Error::Patch;
  _baseSize = wordAt(head + BASE_AT);
  if (_baseSize - 1 >= LARGEST || _imageSize - 1 >= LARGEST) return Error::Patch;
  return _baseSize == baseSize && isMd5(head + MD5_AT, baseMd5) ? Error::None : Error::PatchBase;
}

void PatchDecoder::readRuns() {
  uint32_t end = 0;
  for (uint8_t i = 0; i < _runCount && !_coder.failed(); i++) {
    Code &run = _runs[i];
    run.start = end + _coder.number(place(), _baseSize - end);
    run.end = end = run.start + _coder.number(place(), _baseSize - run.start);
    run.address = _coder.number(place());
    run.moved = _coder.signedNumber(shift());
  }
}

void PatchDecoder::readShifts(uint8_t count) {
  uint32_t start = 0, amount = 0;
  for (; count > 0 && !_coder.failed(); count--) {
    start += _coder.number(place(), UINT32_MAX - start);
    amount += _coder.signedNumber(shift());
    _map.add(start, amount);
  }
}

Error PatchDecoder::run() {
  uint32_t at = 0;
  while (_made < _imageSize && !_coder.failed()) {
    const uint32_t before = _made, left = _imageSize - _made, room = _baseSize - at;
    _moved = _made - at;
    _end = at + _coder.number(_chances.copied, room < left ? room : left);
    _made += _end - at;
    copy(at);
    const uint32_t added = _coder.number(_chances.added, _imageSize - _made);
    _made += added;
    insert(added);
    if (_made == before) _coder.fail(Error::Patch);
    if (_made < _imageSize) at = _end + _coder.signedNumber(_chances.seek);
    if (at > _baseSize) _coder.fail(Error::Patch);  // what is below 0, too
  }
  if (!_coder.failed()) _coder.end();
  return _coder.error();
}

void PatchDecoder::insert(uint32_t size) {
  while (size > 0 && !_coder.failed()) {
    const uint32_t taken = size < PIECE ? size : PIECE;
    for (uint32_t i = 0; i < taken; i++) _window[i] = static_cast<uint8_t>(_coder.symbol(_chances.byte, 8, RATE));
    give(_window, taken);
    size -= taken;
  }
}

void PatchDecoder::give(const uint8_t *data, uint32_t size) {
  if (_coder.failed()) return;
  const Error error = _io.image(data, size);
  if (error != Error::None) _coder.fail(error);
}

// Makes of the base, from `at` to the end of the copy, what the image has there.
void PatchDecoder::copy(uint32_t at) {
  uint32_t differs = differing(at);
  _runEnd = 0;
  while (at < _end && load(at)) {
    const uint32_t from = at, stop = _end - _begin < PIECE ? _end : _begin + PIECE;
    while (at < stop && !_coder.failed()) {
      at = foretell(at, differs < stop ? differs + 1 : stop);
      while (differs < at && !_coder.failed()) {
        uint8_t &byte = _window[differs - _begin];
        byte = static_cast<uint8_t>(byte + _coder.symbol(_chances.difference, 8, DIFFERENCE_RATE));
        differs = differing(differs + 1);
      }
    }
    give(_window + (from - _begin), at - from);
  }
}

// Where the next byte stands that is not as expected, from `at` on; the copy's end, where none does.
uint32_t PatchDecoder::differing(uint32_t at) {
  return at == _end ? at : at + _coder.number(_chances.same, _end - at);
}

// Reads the base around `at` into the window; what is behind its end is of no consequence.
bool PatchDecoder::load(uint32_t at) {
  if (_coder.failed()) return false;
  _begin = at & ~3u;
  const uint32_t left = _baseSize - _begin;
  if (_io.base(_begin, _window, left < WINDOW ? left : WINDOW)) return true;
  _coder.fail(Error::Flash);
  return false;
}

// Makes of the units from `at` on what is expected of them, until one ends at `until` or behind, and returns where. Most
// of the time is spent here.
uint32_t PatchDecoder::foretell(uint32_t at, uint32_t until) {
  const bool words = _map.moves() && (_moved & 3) == 0;
  while (at < until) {
    if (at >= _runEnd) findRun(at);
    uint8_t *bytes = _window + (at - _begin);
    const uint32_t left = _runEnd - at;
    uint32_t aligned = (0 - at) & 3, amount;
    const bool begins = Instructions::begins(at), code = _run != nullptr && left >= Instructions::WIDTH && begins;
    uint32_t size = words || !begins ? WORD - (at & 3) : until - at;
    if (size > left) size = left;
    if (code) size = Instructions::size(bytes);
    for (;; aligned += WORD) {
      const bool isWord = words && aligned < size && at + aligned + WORD <= _end;
      amount = isWord ? _map.amount(wordAt(bytes + aligned)) : 0;
      if (Instructions::WIDTH <= WORD || !isWord || amount != 0) break;  // two begin in a longer one
    }
    if (amount != 0) {
      size = aligned;
      if (aligned == 0) settle(Word, bytes, wordAt(bytes) + amount, size = WORD);
    } else if (code && Instructions::hasDistance(bytes)) {
      aim(at, bytes, size);
    }
    at += size;
  }
  return at;
}

// The instruction at `at` with what it means moved.
void PatchDecoder::aim(uint32_t at, uint8_t *bytes, uint32_t size) {
  const Instructions::Number old = Instructions::read(bytes);
  const uint32_t from = _run->address + at - _run->start, to = from + _moved + _run->moved;
  const Instructions::Number now = Instructions::aimed(_map, old, from, to);
  if (now != old) settle(Instructions::isCall(old) ? Call : Load, bytes, now, size);
}

// Takes what is expected of a site of this kind, if the patch says that it holds; else the base's bytes stay.
void PatchDecoder::settle(Kind kind, uint8_t *bytes, Instructions::Number expected, uint32_t size) {
  uint8_t &missed = _missed[kind];
  missed = static_cast<uint8_t>(_coder.takeBit(_chances.held[kind][missed], RATE));
  if (missed == 0) memcpy(bytes, &expected, size);
}

void PatchDecoder::findRun(uint32_t at) {
  _run = nullptr;
  _runEnd = _end;
  for (uint8_t i = 0; i < _runCount; i++) {
    const bool before = _runs[i].start > at;
    if (!before && at >= _runs[i].end) continue;
    if (!before) _run = &_runs[i];
    const uint32_t until = before ? _runs[i].start : _runs[i].end;
    if (until < _runEnd) _runEnd = until;
  }
}

}  // namespace otaseal
