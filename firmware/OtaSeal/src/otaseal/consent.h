// Ask first: what the server has for this device, and what keeps it from being installed at once. The sketch may put it
// off, for so long at most; it may have to wait for an hour of the day; and its owner may have switched updates off.
#pragma once

#include <Arduino.h>

#include "errors.h"

class OtaSeal;

namespace otaseal {

class Download;

// What the server has for this device and is not installed.
struct Pending {
  String version;         // as the server calls it; may be empty, as the two behind it
  String severity;        // feature, fix or security
  String notes;           // what it is for, or where that is said
  uint32_t size = 0;      // bytes of the download
  uint32_t since = 0;     // Unix seconds: since then there has been an update, whichever release it is by now
  uint32_t left = 0;      // seconds for which it may still be put off; 0: it is installed whatever is answered
  bool security = false;  // it is for security
  explicit operator bool() const { return size != 0; }
};

// What the sketch says to it. What is put off comes up again with the next poll; the server is told why.
enum class Answer : uint8_t {
  Install = 0,
  Later = static_cast<uint8_t>(Error::PostponedByUser),
  InUse = static_cast<uint8_t>(Error::PostponedInUse),
  LowPower = static_cast<uint8_t>(Error::PostponedLowPower),
};
using AskCallback = Answer (*)(const Pending &update);

// How long, in seconds, and how often the sketch may put off an update, in all.
struct Patience {
  uint32_t seconds = 7UL * 24 * 3600;
  uint32_t ofSecurity = 24UL * 3600;  // where the server says that it is about security
  uint16_t times = UINT16_MAX;

  Patience() = default;
  Patience(uint32_t any, uint32_t security, uint16_t often = UINT16_MAX) : seconds(any), ofSecurity(security), times(often) {}
};

// Whom a poll for firmware asks, where there is one.
struct Consent {
  // Asks the server what it has, and whether that may be downloaded. false: it may not, because of `error`, or there is nothing.
  virtual bool ask(OtaSeal &updates, Error &error, int &detail) = 0;
  virtual Error confirm(OtaSeal &updates, Download &download) = 0;  // None: what comes now is what was agreed to
  virtual void settle() = 0;                                         // an update is in

 protected:
  ~Consent() = default;
};

}  // namespace otaseal
