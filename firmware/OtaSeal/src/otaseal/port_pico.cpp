#if defined(ARDUINO_ARCH_RP2040)

#include "port_pico.h"

#include <lwip/apps/sntp.h>

#include "files.h"
#include "staged_trailer.h"

namespace otaseal {
namespace port {

// The core's NTP.begin() waits up to five seconds for each name, and never asks again for one that it did not get: lwIP
// itself looks names up in the background, as often as it needs them.
void startClock(const char *first, const char *second) {
  sntp_stop();
  sntp_setoperatingmode(SNTP_OPMODE_POLL);
  sntp_setservername(0, first);
  sntp_setservername(1, second);
  sntp_init();
}

// First the order: with one left over from an update that was not restarted into, a reset during this download would have
// the boot stub copy half of it. Then the old image: a file that is written anew takes its old blocks until it is closed.
void beforeWriting() {
  files::discard("/otacommand.bin");
  files::discard("/firmware.bin");
}

}  // namespace port

// The updater still has its file open, and for others it is empty until it is closed. So both keys have to have one size.
uint32_t stagedTrailer() { return 0; }

}  // namespace otaseal

#endif
