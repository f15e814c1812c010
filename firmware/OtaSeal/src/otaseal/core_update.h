// A signed file on its way into the updater of the ESP8266's core, which asks our gate. Where that stages it is no safe place:
// nothing outlives a restart.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "errors.h"
#include "unfinished.h"
#include "update_verifier.h"

namespace otaseal {

class CoreUpdate {
 public:
  static constexpr bool RESUMES = false;  // after a restart

  static bool isBusy() { return false; }
  static bool find(Unfinished &) { return false; }
  static void forget() {}

  // `size`: of the whole file: so much has to come.
  CoreUpdate(Gate &gate, uint32_t size) : _gate(gate), _size(size) {}
  CoreUpdate(const CoreUpdate &) = delete;
  CoreUpdate &operator=(const CoreUpdate &) = delete;

  Error keep(const Unfinished &, uint32_t) { return Error::None; }
  Error add(const uint8_t *data, size_t size);  // the next bytes, however many
  Error finish();                               // None: verified, and what the boot loader carries out next
  void discard(bool keeps);  // what came to nothing, and an update of others that was under way: they may have forgotten it
  int detail() const { return _detail; }        // the updater's own number; 0: none

 private:
  Error refused();

  Gate &_gate;
  const uint32_t _size;
  uint32_t _came = 0;
  int _detail = 0;
  bool _begun = false, _opened = false;
  uint8_t _first[port::FIRST_BYTES];
};

}  // namespace otaseal
