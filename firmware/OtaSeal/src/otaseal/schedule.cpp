#include "schedule.h"

namespace otaseal {

void Schedule::interval(uint32_t seconds) {
  _interval = seconds < SHORTEST ? SHORTEST : seconds > LONGEST ? LONGEST : seconds;
}

void Schedule::start(uint32_t now, uint32_t chance) {
  const uint32_t spread = _interval < FIRST ? _interval : FIRST;
  _since = now;
  _wait = chance % (1000 * spread);
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

bool Schedule::due(uint32_t now) {
  if (_waiting && now - _since >= _wait) _waiting = false;  // stays due, however long there is no network
  return !_waiting;
}

void Schedule::plan(uint32_t now, uint32_t chance, uint32_t longest) {
  uint32_t seconds = _interval;
  for (uint8_t i = 0; i < _failures && seconds < longest; i++) seconds *= 2;
  if (seconds > longest) seconds = longest;
  const uint32_t middle = 1000 * seconds;
  _since = now;
  _wait = middle - middle / 8 + chance % (middle / 4);
  _waiting = true;
}

}  // namespace otaseal
