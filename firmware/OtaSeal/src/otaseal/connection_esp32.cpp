// Connections on the ESP32: how one is set up.
#if defined(ARDUINO_ARCH_ESP32)

#include <OtaSeal.h>

#include "files.h"

using namespace otaseal;

void OtaSeal::probe() {
  _fragments = true;  // there is room for whole TLS records: nothing to ask
  _step = Step::Firmware;
}

Error OtaSeal::open(Request &request, const char *file, int &detail) {
  const Error error = _tls.handshake(request.client, files::CERTIFICATES, {_server, _port, clock()}, detail);
  if (error == Error::None) address(request, file);
  return error;
}

Error OtaSeal::tryCertificates(const char *archive, const char *, int &detail) {
  TlsClient client;
  const Error error = _tls.handshake(client, archive, {_server, _port, clock()}, detail);
  client.stop();
  return error < Error::Tls ? error : Error::ArchiveLockout;
}

// The TLS connection stood: what HTTPClient says of it is that there was no answer.
Error OtaSeal::classify(TlsClient &, int code, int &detail) {
  detail = code;
  return Error::Connect;
}

#endif
