// Whether an update is installed now. A sketch that asks nobody links none of this. One state for the chip, however many
// objects there are; what has to outlive a restart lies in a small file.
#include "consent.h"

#include <OtaSeal.h>
#include <stdlib.h>
#include <time.h>

#include <memory>
#include <new>

#include "download.h"
#include "staging.h"

using namespace otaseal;

namespace {

constexpr uint32_t DAY = 24 * 3600, HOUR = 3600;  // seconds
constexpr uint32_t MAGIC = 0x3141534f;            // "OSA1"

// What outlives a restart. An update is pending from the first poll that tells of one until one is in or there is none any
// more: a newer release in its place does not begin anew.
struct Note {
  uint32_t magic;
  uint32_t since;   // Unix seconds; 0: nothing is pending
  uint32_t last;    // Unix seconds of the last poll at which the time was known
  uint32_t waited;  // seconds that it has been pending
  uint16_t times;   // that the sketch has put it off
  uint16_t off;     // 1: updates are switched off
  uint8_t checksum[CHECKSUM];
};

Note note;
uint32_t savedAt;  // its `waited` as it was saved last
uint32_t polled;   // milliseconds since the start, at the last poll with an update
AskCallback callback;
Patience patience;
uint32_t (*untilOpen)(bool clockIsKnown);  // where there is a window: a time zone takes 7 KB of flash on an ESP8266
const char *zone;
uint8_t from, to;  // hours of the window; equal: there is none
bool known, touched, once, forced;

// No variable of the file: what has to be constructed would be linked by everybody.
Pending &offered() {
  static Pending made;
  return made;
}

const char *headers[] = {"x-MD5", "ETag", "Content-Range", WAIT, "X-Otaseal-Version", "X-Otaseal-Severity", "X-Otaseal-Notes"};

void load() {
  if (known) return;
  known = true;
  if (!readSealed(files::CONSENT, &note, sizeof note) || note.magic != MAGIC) note = Note();
  note.magic = MAGIC;
  savedAt = note.waited;
}

bool save() {
  savedAt = note.waited;
  touched = true;
  return replaceSealed(files::CONSENT, &note, sizeof note);
}

// Nothing is pending any more.
void settle() {
  offered() = Pending();
  if (note.since == 0) return;
  note.since = note.last = note.waited = note.times = 0;
  save();
}

// Time counts as this start of the device measures it; before that, by the clock, a day at most: neither a clock that is set nor
// a month without power uses up the time to say no.
void count(uint32_t now, bool clockIsKnown) {
  static bool counting;
  const uint32_t uptimeNow = uptime();
  if (note.since == 0) {
    note.since = now;
  } else if (counting) {
    note.waited += (uptimeNow - polled) / 1000;
  } else if (clockIsKnown && note.last != 0 && now > note.last) {
    note.waited += now - note.last < DAY ? now - note.last : DAY;
  }
  counting = true;
  polled = uptimeNow;
  if (clockIsKnown) note.last = now;
  const uint32_t limit = offered().security ? patience.ofSecurity : patience.seconds;
  offered().since = note.since;
  offered().left = note.waited < limit && note.times < patience.times ? limit - note.waited : 0;
}

// Seconds until the window opens; 0: it is open. A time that is not known is in no window, until a day has passed like that.
// The core has set a time zone of its own in the meantime (F136).
uint32_t untilWindow(bool clockIsKnown) {
  if (from == to) return 0;
  if (zone != nullptr) {
    setenv("TZ", zone, 1);
    tzset();
    zone = nullptr;
  }
  if (!clockIsKnown) return note.waited < DAY ? 2 * DAY : 0;
  const time_t now = time(nullptr);
  struct tm local;
  localtime_r(&now, &local);
  const uint32_t into = (static_cast<uint32_t>(local.tm_hour) + 24 - from) % 24, length = (to + 24u - from) % 24;
  if (into < length) return 0;
  return (24 - into) * HOUR - static_cast<uint32_t>(60 * local.tm_min + local.tm_sec);
}

}  // namespace

namespace otaseal {

struct Asker final : Consent {
  bool ask(OtaSeal &updates, Error &error, int &detail) override;
  Error confirm(OtaSeal &updates, Download &download) override;
  void settle() override { ::settle(); }
  Error look(OtaSeal &updates, Download &download);
  Error take(OtaSeal &updates, Download &download);
  Error judge(OtaSeal &updates);
  Error reason(OtaSeal &updates);
};

// By HEAD (F135): a small body that nobody reads, as that of a patch, would still arrive, and count as delivered (F137).
bool Asker::ask(OtaSeal &updates, Error &error, int &detail) {
  load();
  forced = once;
  once = false;
  std::unique_ptr<Download> download(new (std::nothrow) Download(updates));
  error = download != nullptr ? look(updates, *download) : Error::Memory;
  if (download != nullptr) detail = download->detail();
  if (error != Error::None) return false;
  if (offered()) {
    error = judge(updates);
    if (error == Error::None) updates._error = Error::None;  // it is put off no longer
    return error == Error::None;
  }
  Unfinished left;
  updates._wholeOnly = false;
  if (Staging::find(left)) Staging::forget();
  return false;
}

// Another release may have come in between.
Error Asker::confirm(OtaSeal &updates, Download &download) {
  if (download.header(headers[4]) == offered().version) return Error::None;
  const Error error = take(updates, download);
  return error == Error::None ? judge(updates) : error;
}

// Asks the server, and keeps what it says.
Error Asker::look(OtaSeal &updates, Download &download) {
  Error error = download.look();
  if (error != Error::None) return error;
  if (download.isNothingNew()) {
    settle();
    return Error::None;
  }
  error = download.begin();
  if (error == Error::None) return take(updates, download);
  offered() = Pending();
  return error;
}

Error Asker::take(OtaSeal &updates, Download &download) {
  if (updates._journal.record.exhaustedTransfer(download.file().md5)) {
    offered() = Pending();
    return Error::Attempts;
  }
  offered().version = download.header(headers[4]);
  offered().severity = download.header(headers[5]);
  offered().notes = download.header(headers[6]);
  offered().size = download.file().size;
  offered().security = offered().severity == F("security");
  count(updates.clock(), updates.knowsTime());
  return Error::None;
}

Error Asker::judge(OtaSeal &updates) {
  const Error why = forced ? Error::None : reason(updates);
  if (why != Error::None && (!touched || note.waited - savedAt >= HOUR)) save();
  return why;
}

// Why it is not installed now.
Error Asker::reason(OtaSeal &updates) {
  if (note.off != 0) return Error::SwitchedOff;
  const uint32_t wait = untilOpen != nullptr ? untilOpen(updates.knowsTime()) : 0;
  if (wait > 0) {
    updates._schedule.by(wait, (to + 24u - from) % 24 * HOUR / 4);
    return Error::OutsideWindow;
  }
  if (callback == nullptr) return Error::None;
  const Error why = static_cast<Error>(callback(offered()));
  if (why == Error::None || offered().left == 0) return Error::None;
  if (note.times < UINT16_MAX) note.times++;
  return why;
}

}  // namespace otaseal

static Consent *asker() {
  static Asker made;
  Download::wanted = headers;
  Download::wantedCount = sizeof headers / sizeof *headers;
  return &made;
}

void OtaSeal::askFirst(AskCallback ask, const Patience &most) {
  callback = ask;
  patience = most;
  _consent = asker();
}

void OtaSeal::maintenance(uint8_t fromHour, uint8_t toHour, const char *timeZone) {
  from = fromHour % 24;
  to = toHour % 24;
  zone = timeZone;
  untilOpen = untilWindow;
  _consent = asker();
}

bool OtaSeal::automatic(bool on) {
  if (!_ready || _consent == nullptr) return false;
  load();
  note.off = on ? 0 : 1;
  return save();
}

bool OtaSeal::isAutomatic() const {
  if (_ready) load();
  return note.off == 0;
}

const Pending &OtaSeal::pending() const { return offered(); }

void OtaSeal::installNow() {
  once = true;
  pollNow();
}
