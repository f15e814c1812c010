// Keys, certificates and the update verifier that Updater.cpp installs when signing is on. Nothing is parsed, and the
// verifier accepts nothing.
#include "BearSSLHelpers.h"

#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#define ARDUINO_SIGNING 0
#endif

namespace BearSSL {

bool PublicKey::parse(const char *pem) { return parse(reinterpret_cast<const uint8_t *>(pem), strlen_P(pem)); }

// The key stays where the caller has it: its bytes stay in the program, as the real one's do.
struct PublicKey::Parsed {
  const uint8_t *der;
  size_t size;
  br_rsa_public_key rsa;
};
bool PublicKey::parse(const uint8_t *der, size_t size) {
  _parsed = Shared<Parsed>(new Parsed{der, size, {}});
  return size > 0;
}
bool PublicKey::isRSA() const { return _parsed && _parsed->size > 0; }
const br_rsa_public_key *PublicKey::getRSA() const { return _parsed ? &_parsed->rsa : nullptr; }

struct PrivateKey::Parsed {};
PrivateKey::PrivateKey(Stream &, size_t) {}
bool PrivateKey::parse(const char *) { return false; }
bool PrivateKey::parse(const uint8_t *, size_t) { return false; }

bool PrivateKey::isRSA() const { return false; }
bool PrivateKey::isEC() const { return false; }
const br_rsa_private_key *PrivateKey::getRSA() const { return nullptr; }
const br_ec_private_key *PrivateKey::getEC() const { return nullptr; }

struct X509List::Parsed {};
X509List::X509List(Stream &, size_t) {}
bool X509List::append(const char *) { return true; }
bool X509List::append(const uint8_t *, size_t) { return true; }
size_t X509List::getCount() const { return 0; }
const br_x509_certificate *X509List::getX509Certs() const { return nullptr; }

void HashSHA256::begin() {}
void HashSHA256::add(const void *, uint32_t) {}
void HashSHA256::end() {}
int HashSHA256::len() { return sizeof _digest; }
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
