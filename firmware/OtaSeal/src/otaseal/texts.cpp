// What the errors are called where somebody reads them: on a serial console.
#include <OtaSeal.h>

const __FlashStringHelper *OtaSeal::errorText(Error error) {
  switch (error) {
    case Error::None: return F("no error");
    case Error::Setup: return F("server, port or product is wrong");
    case Error::FileSystem: return F("no LittleFS");
    case Error::NoCertificates: return F("no /certs.ar");
    case Error::BadCertificates: return F("/certs.ar is damaged");
    case Error::ClientCertificate: return F("client certificate is damaged");
    case Error::Memory: return F("not enough memory");
    case Error::Connect: return F("no connection");
    case Error::Tls: return F("TLS failed");
    case Error::ServerName: return F("certificate for another server");
    case Error::CertificateTime: return F("certificate or clock out of date");
    case Error::Untrusted: return F("unknown authority");
    case Error::Http: return F("bad answer");
    case Error::NotFound: return F("not found");
    case Error::Forbidden: return F("forbidden");
    case Error::Unauthorized: return F("unauthorized");
    case Error::NoLength: return F("answer without a length");
    case Error::Truncated: return F("answer too short");
    case Error::Space: return F("not enough space");
    case Error::NotFirmware: return F("not firmware");
    case Error::Flash: return F("flash failed");
    case Error::Signature: return F("bad signature");
    case Error::NoManifest: return F("no manifest");
    case Error::Format: return F("unknown manifest");
    case Error::Kind: return F("wrong kind");
    case Error::Product: return F("other product");
    case Error::Board: return F("other board");
    case Error::Counter: return F("lower security counter");
    case Error::Attempts: return F("tried too often");
    case Error::ArchiveSize: return F("certificates: bad size");
    case Error::ArchiveStructure: return F("certificates: unusable");
    case Error::ArchiveOlder: return F("certificates: older");
    case Error::ArchiveLockout: return F("certificates: would lock out");
    case Error::ArchiveWrite: return F("certificates: not written");
  }
  return F("unknown");
}
