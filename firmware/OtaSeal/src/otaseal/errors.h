// Every way an update can end badly, by number. Numbers never change their meaning: they are what a device reports to
// its server (X-Otaseal-Error), and what the README explains. Nothing here depends on the hardware.
#pragma once

#include <stdint.h>

namespace otaseal {

enum class Error : uint8_t {
  None = 0,

  // begin(): the device cannot be updated until this is mended
  Setup = 1,              // server, port or product is missing or too long, or the product is not the one of the build
  FileSystem = 2,         // LittleFS does not mount; it is never formatted
  NoCertificates = 3,     // no /certs.ar, or none in it
  BadCertificates = 4,    // /certs.ar would crash the TLS stack or shadow certificates
  ClientCertificate = 5,  // /client.crt or /client.key cannot be read; polling goes on without

  // the connection
  Memory = 10,           // not enough heap for a TLS connection
  Connect = 11,          // no answer, or it ended before the headers did
  Tls = 12,              // TLS failed; the detail is BearSSL's or mbedTLS's error
  ServerName = 13,       // the certificate is for another name than the one that was asked for
  CertificateTime = 14,  // a certificate is not valid yet, or not any more, or the clock is wrong
  Untrusted = 15,        // no authority in /certs.ar vouches for the server
  Busy = 16,             // another update is running, in another task or by the core's updater

  // the answer
  Http = 20,          // a status or a header that makes no sense
  NotFound = 21,      // 404
  Forbidden = 22,     // 403
  Unauthorized = 23,  // 401
  NoLength = 24,      // no Content-Length, or a chunked body
  Truncated = 25,     // the body ended too early or stood still for 30 s, and could not be gone on with; or it took ten minutes
  Space = 26,         // larger than what is free beside the running sketch
  NotFirmware = 27,   // neither an image for this chip nor a gzip
  Flash = 28,         // writing or reading flash failed; the detail is the core's updater error

  // the judgement, after all bytes are in flash; nothing was installed
  Signature = 30,   // none, or by neither of the two keys
  NoManifest = 31,  // signed, but says not what it is for
  Format = 32,      // a manifest that this firmware is too old to understand
  Kind = 33,        // certificates in the place of firmware, or the other way round
  Product = 34,
  Board = 35,     // or, on a Pico, a filesystem in another place
  Counter = 36,   // a lower security counter than this firmware's own
  Attempts = 37,  // this very release was tried three times

  // the certificate archive; the old one stays in use
  ArchiveSize = 40,
  ArchiveStructure = 41,
  ArchiveOlder = 42,    // built before the one in use
  ArchiveLockout = 43,  // the server itself would not be trusted any more
  ArchiveWrite = 44,    // the filesystem is full or failed

  // the device's own certificate; the old one, if there is one, stays in use
  Claim = 50,           // the server does not take the claim code
  CertificateKey = 51,  // what came is no certificate for the device's key

  // a patch; nothing was installed, and the whole image comes next
  PatchBase = 60,  // it was made for another sketch than the one that runs
  Patch = 61,      // damaged, or of a format that this firmware is too old to understand

  // the trial of an update on an ESP32; the firmware before it runs again
  Unreached = 70,  // the server did not answer it in time
  Restarts = 71,   // it started too often before the server answered, or not so far as to count

  // there is an update, which is put off: no failure
  PostponedByUser = 80,
  PostponedInUse = 81,     // the device
  PostponedLowPower = 82,
  OutsideWindow = 83,      // of maintenance
  SwitchedOff = 84,        // updates are, until they are switched on again
};

inline bool isPostponed(Error error) { return error >= Error::PostponedByUser; }

}  // namespace otaseal
