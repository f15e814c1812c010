// Program start. The program is built to be packed, not to be run: main() only keeps the sketch in the link.
#include <Arduino.h>

static void (*volatile const sketch[])(void) = {setup, loop};

int main() { return sketch[0] && sketch[1] ? 0 : 1; }
