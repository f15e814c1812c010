// The certificate archive as a file: what it hashes to, and whether it can be used.
#pragma once

#include <stdint.h>

#include "archive.h"

namespace otaseal {

// Returns the number of certificates in the archive at `path`, 0 if it must not be used; `hash` gets its SHA-256.
uint16_t inspect(const char *path, uint8_t *hash);
#if defined(ARDUINO_ARCH_ESP32)
uint16_t inspect(const char *path, uint8_t *hash, ArchiveCheck &check);
#endif

}  // namespace otaseal
