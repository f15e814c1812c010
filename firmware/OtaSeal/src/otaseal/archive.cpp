#include "archive.h"

#include <string.h>

namespace otaseal {

static constexpr uint8_t SIZE_AT = 48, SIZE_DIGITS = 10, END_AT = 58;
static constexpr uint8_t DER_HEADER = 4;  // of a SEQUENCE that is longer than 127 bytes and shorter than 65536

// The decimal at the place of the size, followed by nothing but blanks; 0 if it is none.
static uint32_t decimal(const uint8_t *digits) {
  uint32_t value = 0;
  uint8_t i = 0;
  for (; i < SIZE_DIGITS && digits[i] >= '0' && digits[i] <= '9'; i++) {
    value = 10 * value + (digits[i] - '0');
    if (value > ArchiveCheck::LIMIT) return 0;
  }
  for (; i < SIZE_DIGITS; i++) {
    if (digits[i] != ' ') return 0;
  }
  return value;
}

// The length of the SEQUENCE that begins here, its header included; 0 for anything else. No certificate is so short
// that its length takes one byte.
static uint32_t sequence(const uint8_t *der) {
  if (der[0] != 0x30) return 0;
  if (der[1] == 0x81) return 3u + der[2];
  return der[1] == 0x82 ? 4u + (static_cast<uint32_t>(der[2]) << 8 | der[3]) : 0;
}

void ArchiveCheck::begin() {
  _at = At::Magic;
  _held = 0;
  _members = 0;
}

void ArchiveCheck::add(const uint8_t *data, uint32_t size) {
  while (size > 0 && _at != At::Broken) {
    const uint32_t taken = take(data, size);
    data += taken;
    size -= taken;
  }
}

// Handles what belongs together of the next bytes, at least one, and returns how many they were.
uint32_t ArchiveCheck::take(const uint8_t *data, uint32_t size) {
  if (_at == At::Padding) {
    _at = At::Header;
    return 1;
  }
  if (_at == At::Member && _held == DER_HEADER) {
    const uint32_t taken = size < _left ? size : _left;
    _left -= taken;
    decode(data, taken);
    if (_left == 0 && _at == At::Member) member();
    return taken;
  }
  const uint32_t room = (_at == At::Magic ? MAGIC : _at == At::Header ? HEADER : DER_HEADER) - _held;
  const uint32_t taken = size < room ? size : room;
  memcpy(_head + _held, data, taken);
  _held = static_cast<uint8_t>(_held + taken);
  if (taken == room) complete();
  return taken;
}

void ArchiveCheck::complete() {
  switch (_at) {
    case At::Magic:
      _held = 0;
      _at = memcmp(_head, "!<arch>\n", MAGIC) == 0 ? At::Header : At::Broken;
      break;
    case At::Header: header(); break;
    default: certificate(); break;
  }
}

void ArchiveCheck::header() {
  _held = 0;
  _size = _left = decimal(_head + SIZE_AT);
  const bool skipped = _head[0] == '/' && _head[1] == '/';
  const bool ends = _head[END_AT] == '`' && _head[END_AT + 1] == '\n';
  if (skipped || !ends || _size <= DER_HEADER || _size > MEMBER_LIMIT) {
    _at = At::Broken;
    return;
  }
  _at = At::Member;
}

// The decoder crashes on a byte behind the certificate, so it gets none: first it has to end where the member does.
void ArchiveCheck::certificate() {
  if (sequence(_head) != _size || !decoder.begin(_size)) {
    _at = At::Broken;
    return;
  }
  _left -= DER_HEADER;
  decode(_head, DER_HEADER);
}

void ArchiveCheck::decode(const uint8_t *data, uint32_t size) {
  if (!decoder.push(data, size)) _at = At::Broken;
}

void ArchiveCheck::member() {
  const bool whole = decoder.isWhole();
  _held = 0;
  _members++;
  _at = !whole || decoder.subject() < SMALLEST_SUBJECT ? At::Broken : _size & 1 ? At::Padding : At::Header;
}

uint16_t ArchiveCheck::finish() {
  const bool ended = (_at == At::Header && _held == 0) || _at == At::Padding;
  return ended ? _members : 0;
}

}  // namespace otaseal
