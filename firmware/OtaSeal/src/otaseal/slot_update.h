// A signed file on its way into the slot of an ESP32 that does not run. The slot gets the image alone: the manifest and
// what follows stay in RAM, with the last part of the image, until the signature over all of it has been verified. So
// there is no whole image in the slot before the verdict, and its first 16 bytes, which the core writes at the very end,
// are not there at all after a refusal: neither the boot loader nor Update.rollBack() can start what is left.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "errors.h"
#include "update_verifier.h"

namespace otaseal {

class SlotUpdate {
 public:
  static constexpr size_t HELD = 1024;  // bytes that are held back: the longest trailer and manifest have 580

  static bool isBusy();  // an update of others is under way

  // `size`: of the whole file, as the server announces it: so much has to come.
  SlotUpdate(Gate &gate, uint32_t size);
  ~SlotUpdate() { discard(); }
  SlotUpdate(const SlotUpdate &) = delete;
  SlotUpdate &operator=(const SlotUpdate &) = delete;

  Error add(const uint8_t *data, size_t size);  // the next bytes, however many
  Error finish();                               // None: verified, in the slot, and what is started next
  void discard();                               // what was not finished
  int detail() const { return _detail; }        // the updater's own number; 0: none

 private:
  Error open();
  Error pass();
  Error judge(size_t &rest);
  Error write(uint8_t *data, size_t size);
  Error fill();
  Error refused();

  Gate &_gate;
  const uint32_t _size;
  uint32_t _came = 0;
  uint32_t _room = 0;     // bytes that the core's updater has been told
  uint32_t _written = 0;  // of these
  uint32_t _held = 0;
  int _detail = 0;
  bool _begun = false;
  uint8_t _window[2 * HELD];
};

}  // namespace otaseal
