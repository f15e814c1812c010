// A signed file on its way into a Pico's filesystem, as a file of the library's own, since the core's updater empties its
// own before it writes. A file has what was in it when it was last closed or flushed (F125), so after a restart it says itself how
// far it has come; which one it is stands in another beside it. Once it is whole and verified, as it stands in flash, it
// gets the name of the core's, and the boot stub its order.
#pragma once

#include <FS.h>
#include <stddef.h>
#include <stdint.h>

#include "errors.h"
#include "unfinished.h"
#include "update_verifier.h"

namespace otaseal {

class FileUpdate {
 public:
  static constexpr uint32_t FLUSHED = 64 * 1024;  // bytes; each time a block of 4096 is written anew

  static constexpr bool RESUMES = true;  // after a restart

  static bool isBusy() { return false; }

  static bool find(Unfinished &left);  // what can be gone on with
  static void forget();
  static void takeBack();  // what has the name of the core's already, and has no order yet

  // `size`: of the whole file: so much has to come.
  FileUpdate(Gate &gate, uint32_t size) : _gate(gate), _size(size) {}
  FileUpdate(const FileUpdate &) = delete;
  FileUpdate &operator=(const FileUpdate &) = delete;

  // Before the first bytes: these are of that file, `from` this byte on, and outlive a restart.
  Error keep(const Unfinished &file, uint32_t from);
  Error add(const uint8_t *data, size_t size);  // the next bytes, however many
  Error finish();                               // None: verified, and what the boot stub carries out next
  // What came to nothing, and an update of others that was under way: they may have forgotten it. `keeps`: it can be gone
  // on with.
  void discard(bool keeps);
  int detail() const { return _detail; }  // as the core's updater numbers it; 0: none

 private:
  Error open();
  Error judge(uint32_t &payload);
  bool read(uint32_t at, void *data, size_t size);
  Error full();

  Gate &_gate;
  const uint32_t _size;
  Unfinished _file;
  fs::File _content;
  uint32_t _came = 0;
  int _detail = 0;
};

}  // namespace otaseal
