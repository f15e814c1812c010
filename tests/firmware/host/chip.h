// The chip of the host: its flash, heap, clock and network.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct PowerCut {};  // thrown where the power fails

// Where there is a disk, which may lose power; else nothing happens.
void flashOperation();
void powerFails();

struct Chip {
  std::vector<uint8_t> flash = std::vector<uint8_t>(4 << 20, 0xff);
  uint32_t filesystem = 0x200000;  // where it begins
  uint32_t sketchSize = 0x40000;
  uint8_t flashMode = 2;
  std::vector<uint8_t> slot = std::vector<uint8_t>(0x140000, 0xff);  // of an ESP32: the one that does not run
  bool oneSlot = false;                    // of an ESP32: its table has no other one
  uint16_t id = 0, revision = 300;         // of an ESP32, as images name them
  uint32_t writesBeforeFailure = UINT32_MAX;  // of an ESP32, then its flash fails
  uint32_t stack = 0x20042000;  // of a Pico: the end of its RAM, where the stack begins
  uint32_t freeHeap = 40000, largestBlock = 32000;
  uint32_t milliseconds = 0;
  uint32_t timeAtStart = 0;  // what the clock says without a time server: 1970
  uint32_t networkTime = 0;  // what a time server says; 0: none answers
  bool asksForTime = false;
  uint32_t pace = 0;  // milliseconds that one byte of a slow server takes; 0: any number takes none
  uint32_t cutAfter = 0;     // bytes that come before the power fails; 0: it does not
  uint32_t silentAfter = 0;  // bytes that come before a connection stands still, once; 0: none does
  bool online = true;
  std::string mac = "5C:CF:7F:F0:04:CB";  // of the station
  std::string address = "127.0.0.1";      // that it asks from
  bool restarted = false;
  uint32_t stagedAt = 0, stagedSize = 0;  // the order to the boot loader; size 0: none
  std::vector<uint16_t> buffers;         // receive buffers of the connections that were made
  unsigned probes = 0, resumed = 0;
  uint32_t given = 0;  // bytes that have come over any connection
  uint32_t chance = 1;
  std::map<std::string, std::string> nvs;  // of an ESP32: blobs by space/name
  bool nvsFails = false;  // it cannot be written
  bool waits = true;      // of an ESP32: its boot loader waits for the word of new firmware
  int resetReason = 3;    // of an ESP32: by software

  uint8_t *writeMac(uint8_t *bytes) const;  // of the station
  void take(int size);  // bytes that have come; throws PowerCut when it is time
  bool silent() const { return silentAfter != 0 && given >= silentAfter; }
  uint32_t noise();  // of the radio
  void start();      // as after a restart: RAM is gone, flash is not
};

extern Chip chip;
