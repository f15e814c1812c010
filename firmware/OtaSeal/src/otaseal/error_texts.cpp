// What the errors are called where somebody reads them: on a serial console. One text in flash, each behind its number
// (octal, as an escape is): a table of pointers would lie in RAM.
#include <OtaSeal.h>

static const char TEXTS[] PROGMEM =
    "\1" "server, port or product is wrong\0"  // 1
    "\2" "no LittleFS\0"  // 2
    "\3" "no /certs.ar\0"  // 3
    "\4" "/certs.ar is damaged\0"  // 4
    "\5" "client certificate is damaged\0"  // 5
    "\12" "not enough memory\0"  // 10
    "\13" "no connection\0"  // 11
    "\14" "TLS failed\0"  // 12
    "\15" "certificate for another server\0"  // 13
    "\16" "certificate or clock out of date\0"  // 14
    "\17" "unknown authority\0"  // 15
#if defined(ARDUINO_ARCH_ESP32)
    "\20" "another update is running\0"  // 16
#endif
    "\24" "bad answer\0"  // 20
    "\25" "not found\0"  // 21
    "\26" "forbidden\0"  // 22
    "\27" "unauthorized\0"  // 23
    "\30" "answer without a length\0"  // 24
    "\31" "answer too short\0"  // 25
    "\32" "not enough space\0"  // 26
    "\33" "not firmware\0"  // 27
    "\34" "flash failed\0"  // 28
    "\36" "bad signature\0"  // 30
    "\37" "no manifest\0"  // 31
    "\40" "unknown manifest\0"  // 32
    "\41" "wrong kind\0"  // 33
    "\42" "other product\0"  // 34
    "\43" "other board\0"  // 35
    "\44" "lower security counter\0"  // 36
    "\45" "tried too often\0"  // 37
    "\50" "certificates: bad size\0"  // 40
    "\51" "certificates: unusable\0"  // 41
    "\52" "certificates: older\0"  // 42
    "\53" "certificates: would lock out\0"  // 43
    "\54" "certificates: not written\0"  // 44
    "\62" "claim refused\0"  // 50
    "\63" "other key\0"  // 51
    "\74" "patch for other firmware\0"  // 60
    "\75" "bad patch\0"  // 61
#if defined(ARDUINO_ARCH_ESP32)
    "\106" "trial: no answer in time\0"  // 70
    "\107" "trial: too many starts\0"    // 71
#endif
    "\120" "put off: user\0"    // 80
    "\121" "put off: in use\0"        // 81
    "\122" "put off: low power\0"     // 82
    "\123" "put off: hour\0"      // 83
    "\124" "switched off\0"   // 84
    ;

const __FlashStringHelper *OtaSeal::errorText(Error error) {
  const char *at = TEXTS;
  for (const char *end = TEXTS + sizeof TEXTS - 1; at < end; at += strlen_P(at) + 1) {
    if (pgm_read_byte(at) == static_cast<uint8_t>(error)) {
      return reinterpret_cast<const __FlashStringHelper *>(at + 1);
    }
  }
  return F("no error");
}
