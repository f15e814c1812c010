// What lwIP's callers hold, since it also runs in interrupts.
#pragma once

struct LWIPMutex {
  LWIPMutex();
  ~LWIPMutex();
};
