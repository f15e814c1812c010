// What is asked for, and what a poll for firmware comes to. What the server is told with it is in proof.cpp; how connections
// are made, in connection_bearssl.cpp and connection_esp32.cpp.
#include <OtaSeal.h>

#include <memory>
#include <new>

#include "crypto.h"
#include "download.h"
#include "installation.h"

using namespace otaseal;

static constexpr int RANGE_NOT_SATISFIABLE = 416;  // some cores have no name for it

Request::Request() = default;
Request::~Request() {
  http.end();
  client.stop();  // keeps the session
}

bool OtaSeal::path(const char *file, char *text, size_t size) const {
  const int length = _channel != nullptr ? snprintf_P(text, size, PSTR("/%s/%s/%s"), _product, _channel, file)
                                         : snprintf_P(text, size, PSTR("/%s/%s"), _product, file);
  return length > 0 && static_cast<size_t>(length) < size;
}

void OtaSeal::pollFirmware() {
  int detail = 0;
  bool installed = false;
  const Error error = fetch(installed, detail);
  const bool postponed = isPostponed(error);
  _failed = error != Error::None && !postponed;
  const bool talked = error == Error::None || error >= Error::Http;
  if (talked) noteTime();
  if (!talked) _fragments = false;  // perhaps another server answers next time
  if (!_failed || error > Error::Unauthorized) trial::confirm();  // the server gives this device firmware
  if (installed) trial::announce(_journal.record);
  if (error == Error::None && !installed && _journal.record.attempts != 0 && trial::verdict(_journal.record) == Error::None) {
    _journal.record.attempts = 0;
    _journal.save();
  }
  const bool last = installed || !talked;
  if (!last) _step = Step::Certificates;
  Result result = installed ? Result::Installed : Result::UpToDate;
  if (error != Error::None) result = postponed ? Result::Postponed : Result::Failed;
  finish(result, error, detail, last);
  if (installed && _restart) port::restart();
}

Error OtaSeal::fetch(bool &installed, int &detail) {
  const port::UpdateLock lock;
  if (!lock.held() || Staging::isBusy()) return Error::Busy;
  bool resumes = true;
  Error error = Error::None;
  if (_consent != nullptr && !_consent->ask(*this, error, detail)) return error;
  error = fetch(resumes, installed, detail);
  if (!Staging::RESUMES || !resumes) return error;
  // What was there from before may be damaged, or written over by others: that says nothing of the release.
  const bool useless = error == Error::Signature || detail == HTTP_CODE_PARTIAL_CONTENT || detail == RANGE_NOT_SATISFIABLE;
  if (!useless) return error;
  Staging::forget();
  resumes = false;
  return fetch(resumes, installed, detail);
}

// All that the request takes is free again when this returns. `resumes`: whether it may go on with what is there, and then
// whether it did.
Error OtaSeal::fetch(bool &resumes, bool &installed, int &detail) {
  std::unique_ptr<Download> download(new (std::nothrow) Download(*this));
  if (download == nullptr) return Error::Memory;
  Unfinished left;
  resumes = resumes && Staging::find(left);
  if (resumes) download->resume(left);
  Error error = download->ask();
  detail = download->detail();
  if (error != Error::None) return error;
  if (download->isNothingNew()) {
    _wholeOnly = false;
    if (resumes) Staging::forget();
    return Error::None;
  }
  do {
    error = receive(*download, detail);
  } while (download->isAnotherFile());
  resumes = download->isResumed();
  installed = error == Error::None;
  if (!installed) return error;
  _wholeOnly = false;
  if (_consent != nullptr) _consent->settle();
  return error;
}

// The answer's headers are here, and nothing of it is in flash.
Error OtaSeal::receive(Download &download, int &detail) {
  Error error = download.begin();
  detail = download.detail();
  if (error != Error::None) return error;
  const uint8_t *announced = download.file().md5;
  if (_journal.record.exhaustedTransfer(announced)) return Error::Attempts;
  if (_consent != nullptr) error = _consent->confirm(*this, download);
  if (error != Error::None) return error;
  download.forgetHeaders();
  _gate.reset();
  _gate.watch(_journal, announced);
  Installation installation(_gate, download, _progress);
  error = installation.run();
  _gate.unwatch();
  detail = installation.detail();
  if (installation.isPatch() && error != Error::Truncated) _wholeOnly = error != Error::None;
  return error;
}
