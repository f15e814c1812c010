// Program start. The program is built to be packed, not to be run: main() only keeps the sketch in the link.
#include <Arduino.h>

extern "C" void yield(void) {}

static void (*volatile const sketch[])(void) = {setup, loop};

int main() {
  ESP.setDramHeap();  // the real start-up code needs Esp.cpp too, and with it the updater
  return sketch[0] && sketch[1] ? 0 : 1;
}
