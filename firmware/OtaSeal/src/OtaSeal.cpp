// When something happens: the start, and which step poll() takes next. What the steps do is in otaseal/connection.cpp and
// otaseal/rotation.cpp. Nothing here waits.
#include "OtaSeal.h"

#include <time.h>

#include "otaseal/files.h"
#include "otaseal/archive_file.h"
#include "otaseal/crypto.h"

using namespace otaseal;

static constexpr uint32_t CLOCK_PATIENCE = 30 * 1000;           // milliseconds online without an answer of a time server
static constexpr uint32_t SESSION_AGE = 24UL * 3600UL * 1000UL;  // milliseconds: then a whole handshake, dates included

static void startClock(const char *const *servers) {
  if (servers[0] != nullptr) port::startClock(servers[0], servers[1]);
}

OtaSeal::OtaSeal(const char *server, uint16_t port, const char *product, const char *channel, const Build &build)
    : _server(server), _product(product), _channel(channel), _build(build), _gate(build), _port(port) {}

void OtaSeal::timeServers(const char *first, const char *second) {
  _timeServers[0] = first;
  _timeServers[1] = second;
}

bool OtaSeal::begin() {
  _gate.install();  // before anything can fail: a device that cannot update itself is not one that takes anything
  const Error over = trial::start();
  if (over != Error::None && giveWay(over)) return false;
  char text[PATH];
  uint8_t id[Sha256::SIZE];
  if (_product != nullptr) Sha256::of(_product, strlen(_product), id);
  if (_server == nullptr || *_server == 0 || _port == 0 || _product == nullptr || !path("certs.ar.signed", text, PATH) ||
      memcmp(id, _gate.identity().product(), Manifest::ID) != 0) {
    _error = Error::Setup;
    return false;
  }
  if (!files::mount()) {
    _error = Error::FileSystem;
    return false;
  }
  _journal.load();
  if (trial::verdict(_journal.record) != Error::None && _journal.record.attempts < Record::MOST_ATTEMPTS) {
    _journal.record.attempts = Record::MOST_ATTEMPTS;
    _journal.save();
  }
  loadSecret();
  _floor = _build.time > _journal.record.time ? _build.time : _journal.record.time;
  files::discard(files::CERTIFICATES_NEW);
  port::discardInstalled();
  _error = openStore();
  if (_error != Error::None) return false;
  if (_enrolment != nullptr) _enrolment(*this, nullptr);
  if (!openIdentity(files::CLIENT_CERTIFICATE, files::CLIENT_KEY)) _error = Error::ClientCertificate;
  if (!port::CLOCK_NEEDS_NETWORK) startClock(_timeServers);
  _schedule.start(uptime(), port::random());
  _ready = true;
  return true;
}

void OtaSeal::poll() {
  const uint32_t now = uptime();
  if (trial::isOverdue(now) && giveWay(Error::Unreached)) return;
  if (!_ready || !_schedule.due(now)) return;
  if (WiFi.status() != WL_CONNECTED) {
    _online = false;
    return;
  }
  if (!_online) {
    _onlineSince = now;
    if (port::CLOCK_NEEDS_NETWORK) startClock(_timeServers);
  }
  _online = true;
  if (!clockIsSettled(now)) return;
  if (now - _sessionSince >= SESSION_AGE) forgetSession();
  switch (_step) {
    case Step::Probe: return probe();
    case Step::Firmware: return pollFirmware();
    case Step::Certificates: return pollCertificates();
    case Step::Enrolment: return _enrolment(*this, nullptr);
  }
}

Error OtaSeal::openStore() {
  if (files::size(files::CERTIFICATES) == 0) return Error::NoCertificates;
  if (inspect(files::CERTIFICATES, _certificatesHash) == 0) return Error::BadCertificates;
  const bool loaded = _tls.load();
  forgetSession();  // it was opened with other certificates
  return loaded ? Error::None : Error::NoCertificates;
}

// Returns false if there is one that cannot be read.
bool OtaSeal::openIdentity(const char *certificatePath, const char *keyPath) {
  fs::File certificate = files::open(certificatePath), key = files::open(keyPath);
  if (!certificate && !key) return true;
  return certificate && key && certificate.size() <= ArchiveCheck::MEMBER_LIMIT &&
         key.size() <= ArchiveCheck::MEMBER_LIMIT && _tls.identify(certificate, key);
}

// A clock that is behind what is certain has not been set, or its server lies: either way the floor is closer.
bool OtaSeal::clockIsSettled(uint32_t now) {
  if (knowsTime()) return true;
  return _timeServers[0] == nullptr || now - _onlineSince >= CLOCK_PATIENCE;
}

bool OtaSeal::knowsTime() const { return static_cast<uint32_t>(time(nullptr)) >= _floor; }

uint32_t OtaSeal::clock() const {
  const uint32_t now = static_cast<uint32_t>(time(nullptr));
  return now >= _floor ? now : _floor + uptime() / 1000;
}

void OtaSeal::forgetSession() {
  _tls.forget();
  _sessionSince = uptime();
  _fullHandshake = true;
}

// The certificates of a server were just found valid, so the clock cannot be far out: that is worth keeping.
void OtaSeal::noteTime() {
  const uint32_t now = clock();
  if (!_fullHandshake || now < _journal.record.time + Journal::SAVE_TIME_EVERY) return;
  _fullHandshake = false;
  _journal.record.time = _floor = now;
  _journal.save();
}

// `planned`: this was the last step, and the next one has to wait.
void OtaSeal::finish(Result result, Error error, int detail, bool planned) {
  _error = error;
  _detail = static_cast<int16_t>(detail);
  if (planned) plan();
  if (_result != nullptr) _result(result, error);
}

// What the server is told of the last update: why it gave way, until another one was tried.
Error OtaSeal::reported() const {
  const Error verdict = trial::verdict(_journal.record);
  return verdict != Error::None && (_error == Error::None || _error == Error::Attempts) ? verdict : _error;
}

// Back to the firmware before; false where that cannot be started any more.
bool OtaSeal::giveWay(Error why) {
  if (!trial::giveWay(why)) return false;
  _ready = false;
  finish(Result::Failed, why, 0, false);
  if (_restart) port::restart();
  return true;
}

// The end of a step behind the firmware's. A firmware's error is worth more than one here, which comes again.
void OtaSeal::conclude(Result result, Error error, int detail) {
  if (result == Result::Failed && (error == Error::None || _failed)) return plan();
  finish(result, error, detail, true);
}

void OtaSeal::plan() {
  if (_step == Step::Certificates && _enrolment != nullptr) {
    _step = Step::Enrolment;
    return;
  }
  _step = _fragments ? Step::Firmware : Step::Probe;
  const uint32_t chance = port::random();
  if (_failed) {
    _schedule.failed(uptime(), chance, trial::isOn() ? trial::RETRY : Schedule::LONGEST);
  } else {
    _schedule.succeeded(uptime(), chance);
  }
  if (!_showsKey || _introduced) return;
  _introduced = true;  // once: what the server answers then does not change within a minute
  _schedule.now();
}
