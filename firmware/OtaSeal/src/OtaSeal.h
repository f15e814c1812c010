// Secure updates in three lines of a sketch:
//
//   #include <OtaSeal.h>
//   OtaSeal updates("update.example", 8443, OTASEAL_PRODUCT);
//   void setup() { ...Wi-Fi...; updates.begin(); }
//   void loop() { updates.poll(); ...your own code... }
//
// The build compiles keys, product, board, version and security counter in (OtaSealBuild.h, made by otaseal's
// verify_updates.py). README.md beside this folder has the error numbers, and what the library does not do.
#pragma once

#include <Arduino.h>

#if __has_include(<OtaSealBuild.h>)
#include <OtaSealBuild.h>
#endif

#ifndef OTASEAL_PRODUCT
#error "no product is named: set custom_otaseal_product in platformio.ini, and list pre:.../verify_updates.py in extra_scripts"
#endif

#include "otaseal/build.h"
#include "otaseal/consent.h"
#include "otaseal/errors.h"
#include "otaseal/files.h"
#include "otaseal/update_verifier.h"
#include "otaseal/persistent_state.h"
#include "otaseal/port.h"
#include "otaseal/proof.h"
#include "otaseal/request.h"
#include "otaseal/schedule.h"
#include "otaseal/tls.h"
#include "otaseal/trial.h"

namespace otaseal {
class Download;
struct Asker;
}

class OtaSeal {
 public:
  using Error = otaseal::Error;

  enum class Result : uint8_t {
    UpToDate,             // the server has nothing newer
    Installed,            // in flash and verified: the device restarts when the callback returns
    CertificatesRenewed,  // another /certs.ar is in use from now on
    Failed,               // lastError() says why
    Enrolled,             // another certificate of the device's own is in use from now on
    Postponed,            // there is an update, which is put off: lastError() says why
  };
  using ProgressCallback = void (*)(size_t done, size_t total);
  using ResultCallback = void (*)(Result result, Error error);

  // The texts must stay where they are (literals do). The server's name or address has to stand in its certificate
  // exactly as it stands here. Without a channel the server decides.
  OtaSeal(const char *server, uint16_t port, const char *product, const char *channel = nullptr,
          const otaseal::Build &build = otaseal::build());
  OtaSeal(const OtaSeal &) = delete;
  OtaSeal &operator=(const OtaSeal &) = delete;

  // Options; all before begin().
  void interval(uint32_t seconds) { _schedule.interval(seconds); }  // between two polls; an hour by default
  void timeServers(const char *first, const char *second = nullptr);  // nullptr: the sketch itself sets the clock
#if defined(ARDUINO_ARCH_ESP32)
  void filesystem(fs::FS &mounted) { otaseal::files::use(mounted); }  // where certs.ar lies, instead of LittleFS
  // How often an update may start, and how long one of these starts may last, until the server has answered it: then the
  // firmware before it is started again. No starts: no trial.
  void trial(uint8_t starts, uint32_t seconds = otaseal::trial::SECONDS) { otaseal::trial::limit(starts, seconds); }
#endif
  void onProgress(ProgressCallback callback) { _progress = callback; }
  void onResult(ResultCallback callback) { _result = callback; }
  void restartAfterUpdate(bool restart) { _restart = restart; }
  // Asks the server for a certificate of the device's own, with this code (otaseal claim new) or as a device that is
  // known already, and for the next one before that one ends.
  void claim(const char *code = nullptr);

  // Asks before an update is downloaded, and may put it off, until its patience is over: a sketch that always says no is
  // overruled then. nullptr: nobody is asked, but what is behind it is there.
  void askFirst(otaseal::AskCallback callback, const otaseal::Patience &most = otaseal::Patience());
  // Updates begin in these hours of local time alone; from 22 to 4 is at night. With a time zone ("CET-1CEST,M3.5.0,M10.5.0/3")
  // local time is of that, for the whole sketch; without, what the sketch has made of it after begin().
  void maintenance(uint8_t fromHour, uint8_t toHour, const char *timeZone = nullptr);

  // From now on no update that the gate refuses gets into this device, whichever way it comes. Mounts LittleFS, loads
  // the certificates, starts to set the clock. Returns false if the device cannot be updated; see lastError().
  bool begin();

  // Call it from every loop(). Returns at once, but when a poll is due: then it talks to the server, which takes
  // seconds, and as long as the download takes if there is an update.
  void poll();

  // Enrols the device at the bench (pio run -t enroll), which is at the other end of this line. Call it from every loop(),
  // where it is wanted: returns at once when nothing has come. Reads whole lines, and passes over those of others.
  void enroll(Stream &bench);

  // Do not wait for the interval: the next poll() asks the server, or, where a whole fleet is told at once, one within so
  // many seconds, by chance. However often this is called, polls are ten seconds apart. Not from another task.
  void pollNow(uint32_t within = 0) { _schedule.soon(otaseal::uptime(), otaseal::port::random(), within); }

  // Where askFirst() or maintenance() was called, and after begin(): whether updates are installed by themselves, also after a
  // restart. Without, polls go on and tell what there is. Returns false if that could not be kept.
  bool automatic(bool on);
  bool isAutomatic() const;
  const otaseal::Pending &pending() const;  // what the last poll found, and did not install; false: nothing
  void installNow();  // asks the server, and installs what it has, whatever hour it is, and whatever was said before

  Error lastError() const { return _error; }    // of the last poll; None once one went well
  int lastErrorDetail() const { return _detail; }  // of TLS, HTTPClient or the updater, their own number; 0: none
  const __FlashStringHelper *lastErrorText() const { return errorText(_error); }
  static const __FlashStringHelper *errorText(Error error);

 private:
  friend class otaseal::Download;
  friend struct otaseal::Asker;

  enum class Step : uint8_t { Probe, Firmware, Certificates, Enrolment };

  static constexpr size_t PATH = 128;

  Error openStore();
  bool openIdentity(const char *certificate, const char *key);
  bool clockIsSettled(uint32_t now);
  uint32_t clock() const;
  bool knowsTime() const;
  void noteTime();
  void forgetSession();
  void finish(Result result, Error error, int detail, bool planned);
  void conclude(Result result, Error error, int detail);
  void plan();
  Error reported() const;
  bool giveWay(Error why);

  void probe();
  void pollFirmware();
  Error fetch(bool &installed, int &detail);
  Error fetch(bool &resumes, bool &installed, int &detail);
  Error receive(otaseal::Download &download, int &detail);
  void pollCertificates();
  Error renewCertificates(int &detail, bool &renewed);
  Error download(int &detail);
  Error get(otaseal::Request &request, const char *path, otaseal::Limits limits, int &detail);
  Error judgeDownload(uint32_t &built);
  Error tryCertificates(const char *archive, const char *index, int &detail);

  bool settleIdentity();
  Error moveIdentity();
  void pollEnrolment();
  bool wantsCertificate() const;
  Error askForCertificate(int &detail, bool &enrolled);
  Error downloadCertificate(int &detail);
  Error tryIdentity(int &detail);
  bool answer(Stream &stream, char *words);
  Error takeCertificate(char *text);
  Error introduce(Stream &stream);

  bool path(const char *file, char *text, size_t size) const;
  Error open(otaseal::Request &request, const char *file, int &detail);
  void address(otaseal::Request &request, const char *file);
  void takeVerdict(const char *verdict);
  Error classify(otaseal::TlsClient &client, int code, int &detail);
#if !defined(ARDUINO_ARCH_ESP32)
  bool configure(otaseal::TlsClient &client, BearSSL::CertStore &store);
#endif

  const char *_server;
  const char *_product;
  const char *_channel;
  const otaseal::Build &_build;
  const char *_timeServers[2] = {"pool.ntp.org", "time.nist.gov"};
  ProgressCallback _progress = nullptr;
  ResultCallback _result = nullptr;
  // What enrols, where the sketch wants it; else it is not linked. Called with the answer for certificates, whose headers say
  // what a server offers; without, by begin(), and by poll() in its turn.
  void (*_enrolment)(OtaSeal &updates, HTTPClient *answer) = nullptr;
  const char *_claim = nullptr;
  otaseal::Consent *_consent = nullptr;  // nullptr: nobody is asked

  otaseal::Journal _journal;
  otaseal::Gate _gate;
  otaseal::Schedule _schedule;
  otaseal::Tls _tls;
  uint8_t _certificatesHash[32] = {};
  uint32_t _floor = 0;      // Unix seconds: it is certainly later than that
  uint32_t _onlineSince = 0, _sessionSince = 0;  // milliseconds
  uint16_t _port;
  Step _step = Step::Probe;
  Error _error = Error::None;
  int16_t _detail = 0;
  bool _ready = false;
  bool _restart = true;
  bool _fragments = false;  // the server agrees to short TLS records, or that does not matter
  bool _online = false;
  bool _showsKey = false;    // the next request has to bring the key of its proof
  bool _introduced = false;  // one has, soon after the start
  bool _wholeOnly = false;   // a patch has come to nothing: no further one until that release is in, or nothing is due
  bool _failed = false;         // what this poll has come to so far
  bool _fullHandshake = true;  // the next connection checks certificates and dates
  bool _offered = false;       // the server enrols, as it last said
  bool _settled = false;       // enroll() has looked for a pair that was moved by half
};
