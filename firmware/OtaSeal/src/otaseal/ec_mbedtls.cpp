#if defined(ARDUINO_ARCH_ESP32)

#include <mbedtls/asn1write.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <string.h>

#include "crypto.h"
#include "ec.h"
#include "ec_key.h"

namespace otaseal {
namespace {

struct Numbers {
  mbedtls_ecp_group group;
  mbedtls_ecp_point point;
  mbedtls_mpi secret, r, s;

  Numbers() {
    mbedtls_ecp_group_init(&group);
    mbedtls_ecp_point_init(&point);
    mbedtls_mpi_init(&secret);
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
  }
  ~Numbers() {
    mbedtls_ecp_group_free(&group);
    mbedtls_ecp_point_free(&point);
    mbedtls_mpi_free(&secret);
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&s);
  }

  bool publish(uint8_t *out) {
    size_t size = 0;
    return mbedtls_ecp_mul(&group, &point, &secret, &group.G, noise, nullptr) == 0 &&
           mbedtls_ecp_point_write_binary(&group, &point, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, out, EcKey::POINT) == 0;
  }

  bool sign(const uint8_t *digest, uint8_t *out) {
    uint8_t der[80];
    unsigned char *at = der + sizeof der;  // written from its end
    if (mbedtls_ecdsa_sign(&group, &r, &s, &secret, digest, Sha256::SIZE, noise, nullptr) != 0) return false;
    const int second = mbedtls_asn1_write_mpi(&at, der, &s), first = mbedtls_asn1_write_mpi(&at, der, &r);
    if (first < 0 || second < 0 || mbedtls_asn1_write_len(&at, der, static_cast<size_t>(first + second)) < 0) return false;
    out[0] = MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE;
    memcpy(out + 1, at, static_cast<size_t>(der + sizeof der - at));
    return true;
  }
};

}  // namespace

bool p256(const uint8_t *secret, const uint8_t *digest, uint8_t *out) {
  Numbers numbers;
  if (mbedtls_ecp_group_load(&numbers.group, MBEDTLS_ECP_DP_SECP256R1) != 0 ||
      mbedtls_mpi_read_binary(&numbers.secret, secret, 32) != 0 ||
      mbedtls_ecp_check_privkey(&numbers.group, &numbers.secret) != 0) {
    return false;
  }
  return digest == nullptr ? numbers.publish(out) : numbers.sign(digest, out);
}

// Days since 1970 by the calendar that all dates in certificates have; 32 bits hold the years to 2105.
static uint32_t unixTime(const mbedtls_x509_time &at) {
  if (at.year < 1970) return 0;
  if (at.year > 2105) return UINT32_MAX;
  const int months = 12 * at.year + at.mon - 3;  // since March of the year 0: leap days come last
  const int year = months / 12, days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * (months % 12) + 2) / 5 + at.day;
  return 86400u * static_cast<uint32_t>(days - 719469) + static_cast<uint32_t>(3600 * at.hour + 60 * at.min + at.sec);
}

static bool isFor(mbedtls_x509_crt &certificate, const uint8_t *point) {
  uint8_t own[EcKey::POINT];
  unsigned char *at = own + sizeof own;  // written from its end; another kind of key finds no room, or leaves some
  return mbedtls_pk_write_pubkey(&at, own, &certificate.pk) == sizeof own && memcmp(at, point, sizeof own) == 0;
}

bool readCertificate(const uint8_t *der, size_t size, const uint8_t *point, Validity &validity) {
  mbedtls_x509_crt certificate;
  mbedtls_x509_crt_init(&certificate);
  const bool whole = mbedtls_x509_crt_parse(&certificate, der, size) == 0 && (certificate.raw.len == size || *der != 0x30);
  validity = {unixTime(certificate.valid_from), unixTime(certificate.valid_to)};
  const bool good = whole && (point == nullptr || isFor(certificate, point));
  mbedtls_x509_crt_free(&certificate);
  return good;
}

}  // namespace otaseal

#endif
