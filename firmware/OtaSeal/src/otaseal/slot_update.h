// A signed file on its way into the slot of an ESP32 that does not run. The slot gets the image alone: the manifest and
// what follows stay in RAM, with the last part of the image, until the signature over all of it has been verified, as it
// stands in flash by then. So there is no whole image in the slot before the verdict, and its first 16 bytes, which are
// written at the very end, are not there at all after a refusal: neither the boot loader nor Update.rollBack() can start
// what is left. What is written is noted now and then, and can be gone on with after a restart.
#pragma once

#include <esp_ota_ops.h>
#include <stddef.h>
#include <stdint.h>

#include "errors.h"
#include "slot_journal.h"
#include "update_verifier.h"

namespace otaseal {

class SlotUpdate {
 public:
  static constexpr size_t HELD = 1024;  // bytes that are held back: the longest trailer and manifest have 580
  static constexpr uint32_t NOTED = 16 * 1024;  // bytes between two notes of how far it has come

  static constexpr bool RESUMES = true;  // after a restart

  static bool isBusy();  // an update of others is under way

  static bool find(Unfinished &left);  // what can be gone on with
  static void forget() { SlotJournal::forget(); }

  // `size`: of the whole file, as the server announces it: so much has to come.
  SlotUpdate(Gate &gate, uint32_t size) : _gate(gate), _size(size) {}
  ~SlotUpdate() { discard(true); }
  SlotUpdate(const SlotUpdate &) = delete;
  SlotUpdate &operator=(const SlotUpdate &) = delete;

  // Before the first bytes: these are of that file, `from` this byte on, and outlive a restart.
  Error keep(const Unfinished &file, uint32_t from);
  Error add(const uint8_t *data, size_t size);  // the next bytes, however many
  Error finish();                               // None: verified, in the slot, and what is started next
  void discard(bool keeps);                     // what was not finished; `keeps`: it can be gone on with
  int detail() const { return _detail; }        // as the core's updater numbers it; 0: none

 private:
  Error open();
  Error pass();
  Error judge(size_t &rest);
  bool hashWritten();
  Error write(const uint8_t *data, size_t size);
  Error erase();
  Error activate();
  Error failed(int detail);

  Gate &_gate;
  const uint32_t _size;
  const esp_partition_t *_slot = nullptr;
  SlotJournal _journal;
  uint32_t _came = 0;
  uint32_t _room = 0;     // bytes of the image, were it signed by the shorter key
  uint32_t _written = 0;  // of these
  uint32_t _erased = 0;   // of the slot
  uint32_t _held = 0;
  int _detail = 0;
  bool _begun = false;
  uint8_t _window[2 * HELD];
};

}  // namespace otaseal
