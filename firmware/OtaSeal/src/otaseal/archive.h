// Whether the device's CertStore can live with an archive: it is not forgiving. What it cannot parse it still counts, and
// what it parses halfway it crashes on, in the middle of a handshake. Bytes are handed in as they come from a file. The
// ESP32 has no CertStore, and the same rules, so that one archive is good for all chips.
//
// Held to: only members it would index; each exactly one DER certificate with a key it can use, its length to the byte;
// a subject of at least 32 bytes, for it copies that many into a buffer of the subject's size; no member larger than
// the heap has room for; nothing behind the last one.
#pragma once

#include <stdint.h>

#include "crypto.h"

namespace otaseal {

class ArchiveCheck {
 public:
#if defined(ARDUINO_ARCH_ESP32)
  static constexpr uint32_t LIMIT = 32 * 1024;  // bytes of an archive: for a handshake all of it is in the heap, twice
#else
  static constexpr uint32_t LIMIT = 256 * 1024;  // bytes of an archive; all public authorities together have 140 KB
#endif
  static constexpr uint32_t MEMBER_LIMIT = 8 * 1024;  // bytes; a certificate is loaded whole
  static constexpr uint16_t SMALLEST_SUBJECT = 32;    // bytes

  void begin();
  void add(const uint8_t *data, uint32_t size);
  uint16_t finish();  // the number of certificates; 0: it must not be used

  CertificateDecoder decoder;

 private:
  enum class At : uint8_t { Magic, Header, Member, Padding, Broken };
  static constexpr uint8_t MAGIC = 8, HEADER = 60;

  uint32_t take(const uint8_t *data, uint32_t size);
  void complete();
  void header();
  void certificate();
  void decode(const uint8_t *data, uint32_t size);
  void member();

  uint8_t _head[HEADER];  // what is read whole: the magic, a header, the first bytes of a certificate
  uint32_t _left = 0;     // of the header or member
  uint32_t _size = 0;     // of the member
  uint16_t _members = 0;
  uint8_t _held = 0;
  At _at = At::Magic;
};

}  // namespace otaseal
