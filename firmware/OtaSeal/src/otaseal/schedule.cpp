#include "schedule.h"

namespace otaseal {

void Schedule::interval(uint32_t seconds) {
  _interval = seconds < SHORTEST ? SHORTEST : seconds > LONGEST ? LONGEST : seconds;
}

void Schedule::start(uint32_t now, uint32_t chance) {
  const uint32_t spread = _interval < FIRST ? _interval : FIRST;
  _since = now - 1000 * SHORTEST;  // as if the last poll was that long ago: somebody may want the first one at once
  _wait = 1000 * SHORTEST + chance % (1000 * spread);
  _waiting = true;
}

void Schedule::succeeded(uint32_t now, uint32_t chance) {
  _failures = 0;
  plan(now, chance, LONGEST);
}

void Schedule::failed(uint32_t now, uint32_t chance, uint32_t longest) {
  if (_failures < MOST_DOUBLINGS) _failures++;
  plan(now, chance, longest);
}

void Schedule::soon(uint32_t now, uint32_t chance, uint32_t within) {
  if (!_waiting || (_soon && within > 0)) return;
  _soon = true;
  if (within > LONGEST) within = LONGEST;
  uint32_t wait = now - _since + (within > 0 ? chance % (1000 * within) : 0);
  if (wait < 1000 * SHORTEST) wait = 1000 * SHORTEST;
  if (wait < _wait) _wait = wait;
}

void Schedule::next(uint32_t seconds, uint32_t spread) {
  _next = seconds < SHORTEST ? SHORTEST : seconds > LONGEST ? LONGEST : seconds;
  _spread = spread;
}

void Schedule::by(uint32_t seconds, uint32_t spread) {
  if (seconds < _interval + _interval / 8) next(seconds, spread);
}

// Later than said, never sooner: who is told when its turn comes is not to ask before. One that says more than a day is
// taken at its word for a day.
void Schedule::told(const char *text) {
  uint32_t seconds = 0;
  if (*text == 0) return;
  for (; *text != 0; text++) {
    const uint32_t digit = static_cast<uint32_t>(*text - '0');
    if (digit > 9) return;
    if (seconds < LONGEST) seconds = 10 * seconds + digit;
  }
  next(seconds, seconds < LONGEST ? seconds / 8 : LONGEST / 8);
}

bool Schedule::due(uint32_t now) {
  if (_waiting && now - _since >= _wait) _waiting = false;  // stays due, however long there is no network
  return !_waiting;
}

void Schedule::plan(uint32_t now, uint32_t chance, uint32_t longest) {
  uint32_t seconds = _interval;
  for (uint8_t i = 0; i < _failures && seconds < longest; i++) seconds *= 2;
  if (seconds > longest) seconds = longest;
  uint32_t least = 1000 * seconds, spread = least / 4;
  least -= least / 8;
  if (_next != 0 && _failures == 0) {
    least = 1000 * _next;
    spread = 1000 * _spread;
  }
  _since = now;
  _wait = least + (spread > 0 ? chance % spread : 0);
  _next = 0;
  _waiting = true;
  _soon = false;
}

}  // namespace otaseal
