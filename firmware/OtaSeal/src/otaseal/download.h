// A file on its way from the server, over as many connections as it takes: where one ends or stands still too early, the
// next one goes on at that byte (RFC 9110, 14), if it is still the same file. The caller asks for the next bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>

#include "errors.h"
#include "request.h"
#include "unfinished.h"

class OtaSeal;

namespace otaseal {

class Download {  // 0.3 KB: for the heap
 public:
  static constexpr uint8_t PIECE = 64;  // bytes that are read at once

  explicit Download(OtaSeal &updates) : _updates(updates) {}
  Download(const Download &) = delete;
  Download &operator=(const Download &) = delete;

  void resume(const Unfinished &left);  // before it is asked for: so much of a file is there from before
  Error ask() { return ask(false); }    // for firmware, once
  Error look() { return ask(true); }    // the same, for the headers alone
  String header(const char *name) { return _request->http.header(name); }  // one that is wanted
  void forgetHeaders() { _request->http.collectHeaders(nullptr, 0); }  // all have been looked at, and take memory
  TlsClient &client() { return _request->client; }
  bool isNothingNew() const { return _status == HTTP_CODE_NOT_MODIFIED; }

  // Takes what the headers say of a whole file, or of the rest of what is there, of which nothing has been read.
  Error begin();
  const Unfinished &file() const { return _file; }
  bool isResumed() const { return _resumed; }  // it goes on with what was there before it was asked for

  // Waits for the next bytes; they are valid until the next call. No bytes: all has come.
  Error read(const uint8_t *&data, size_t &size);

  // Whether read() has ended because the server has begun to send a whole file anew, with headers to begin() with.
  bool isAnotherFile() const { return _anew; }

  int detail() const { return _detail; }  // of the last error: of TLS or HTTPClient, or a status; 0: none

  static const char **wanted;  // headers of answers; the first four are these ones
  static size_t wantedCount;

 private:
  Error ask(bool looks);
  void listen();
  size_t receive();
  Error reopen();
  bool continues() const;

  OtaSeal &_updates;
  std::unique_ptr<Request> _request;
  Unfinished _file;
  const uint32_t _begun = uptime();        // milliseconds
  uint32_t _since = 0, _sector = 0;        // milliseconds of the last sector; where the next one ends
  int _status = 0, _detail = 0;
  uint8_t _reopened = 0, _inVain = 0;
  bool _anew = false, _resumed = false;
  uint8_t _piece[PIECE];
};

}  // namespace otaseal
