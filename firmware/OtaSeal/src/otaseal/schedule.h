// When to ask the server: at an interval, spread by chance so that a fleet does not ask at once, less and less often while
// it fails, and when a server or somebody else says so. Knows no clock: milliseconds since the start, which may overflow,
// and chance are handed in.
#pragma once

#include <stdint.h>

namespace otaseal {

class Schedule {
 public:
  static constexpr uint32_t SHORTEST = 10, LONGEST = 24 * 3600;  // seconds
  static constexpr uint32_t FIRST = 60;                          // seconds within which the first poll comes
  static constexpr uint8_t MOST_DOUBLINGS = 7;

  void interval(uint32_t seconds);
  void start(uint32_t now, uint32_t chance);
  void succeeded(uint32_t now, uint32_t chance);
  void failed(uint32_t now, uint32_t chance, uint32_t longest = LONGEST);  // seconds
  void now() { _waiting = false; }

  // Brings the next poll forward: to within so many seconds, by chance. However often it is called, polls are SHORTEST
  // apart, and who was told to come within a while is not told again.
  void soon(uint32_t now, uint32_t chance, uint32_t within);

  // If this poll goes well, the next one comes after so many seconds, and up to `spread` later, and not after the interval.
  void next(uint32_t seconds, uint32_t spread);
  void by(uint32_t seconds, uint32_t spread);  // unless the interval is shorter
  void told(const char *seconds);  // the same, as a server says it; anything but a number says nothing
  bool due(uint32_t now);
  uint32_t wait() const { return _wait; }  // milliseconds from the last poll to the next

 private:
  void plan(uint32_t now, uint32_t chance, uint32_t longest);

  uint32_t _interval = 3600;
  uint32_t _next = 0, _spread = 0;  // seconds; 0: the interval
  uint32_t _since = 0;
  uint32_t _wait = 0;
  uint8_t _failures = 0;
  bool _waiting = false, _soon = false;
};

}  // namespace otaseal
