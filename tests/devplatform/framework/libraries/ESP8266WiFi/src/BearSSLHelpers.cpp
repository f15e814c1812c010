// Keys, certificates and the update verifier that Updater.cpp installs when signing is on.
#include "BearSSLHelpers.h"

#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#define ARDUINO_SIGNING 0
#endif

namespace BearSSL {

bool PublicKey::parse(const char *pem) { return parse(reinterpret_cast<const uint8_t *>(pem), strlen_P(pem)); }
bool PublicKey::parse(const uint8_t *der, size_t size) {
  _key = der;
  _size = size;
  return size > 0;
}

bool PrivateKey::parse(const char *) { return false; }
bool PrivateKey::parse(const uint8_t *, size_t) { return false; }

bool X509List::append(const char *) { return ++_count > 0; }
bool X509List::append(const uint8_t *, size_t) { return ++_count > 0; }

void HashSHA256::begin() {}
void HashSHA256::add(const void *, uint32_t) {}
void HashSHA256::end() {}
int HashSHA256::len() { return 32; }
const void *HashSHA256::hash() { return nullptr; }
const unsigned char *HashSHA256::oid() { return nullptr; }

uint32_t SigningVerifier::length() { return _key && _key->isRSA() ? 256 : 0; }
bool SigningVerifier::verify(UpdaterHashClass *, const void *, uint32_t) { return false; }

}  // namespace BearSSL

#if ARDUINO_SIGNING
static BearSSL::PublicKey signing_key(signing_pubkey);
static BearSSL::HashSHA256 signing_hash;
static BearSSL::SigningVerifier signing_verifier(&signing_key);

namespace esp8266 {
UpdaterHashClass &updaterSigningHash = signing_hash;
UpdaterVerifyClass &updaterSigningVerifier = signing_verifier;
}  // namespace esp8266
#endif
