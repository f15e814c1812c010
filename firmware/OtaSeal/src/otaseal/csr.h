// What the device asks a certificate with: a request (PKCS#10, RFC 2986) for its own key and name.
#pragma once

#include "ec_key.h"
#include "proof.h"

namespace otaseal {

constexpr size_t CSR_LIMIT = 146 + EcKey::SIGNATURE;  // bytes of DER

// `name`: NAME digits, which stand in the request as servers write them, in capitals and with colons. Returns how many bytes of
// `der` it takes; 0: not enough memory.
size_t makeCsr(const EcKey &key, const char *name, uint8_t *der);

// Base64 (RFC 4648) on one line. The text of `size` bytes has base64Size(size) characters, and a zero behind.
constexpr size_t base64Size(size_t size) { return (size + 2) / 3 * 4; }
void encodeBase64(const uint8_t *data, size_t size, char *text);
// Returns how many bytes it is, in the place of its characters; 0: it is no base64.
size_t decodeBase64(char *text);

}  // namespace otaseal
