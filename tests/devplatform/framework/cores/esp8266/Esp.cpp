// The chip itself: constants of a 4 MB NodeMCU.
#include <Arduino.h>

EspClass ESP;

static constexpr size_t kRtcWords = 128;
static uint32_t rtc_memory[kRtcWords];

static bool rtc_range(uint32_t offset, size_t size) { return offset * 4 + size <= sizeof rtc_memory && size > 0; }

bool EspClass::rtcUserMemoryRead(uint32_t offset, uint32_t *data, size_t size) {
  return rtc_range(offset, size) && memcpy(data, rtc_memory + offset, size);
}
bool EspClass::rtcUserMemoryWrite(uint32_t offset, uint32_t *data, size_t size) {
  return rtc_range(offset, size) && memcpy(rtc_memory + offset, data, size);
}

void EspClass::deepSleep(uint64_t) { exit(0); }
void EspClass::reset() { exit(0); }
void EspClass::restart() { exit(0); }
uint32_t EspClass::random() { return static_cast<uint32_t>(rand()); }
bool EspClass::flashRead(uint32_t, uint8_t *, size_t) { return false; }
uint32_t EspClass::getChipId() { return 0; }
uint32_t EspClass::getFreeHeap() { return 40 * 1024; }
uint32_t EspClass::getMaxFreeBlockSize() { return 32 * 1024; }
uint8_t EspClass::getHeapFragmentation() { return 0; }
const char *EspClass::getSdkVersion() { return "host"; }
String EspClass::getCoreVersion() { return ARDUINO_ESP8266_RELEASE; }
String EspClass::getFullVersion() { return String("SDK:") + getSdkVersion() + "/Core:" + getCoreVersion(); }
uint32_t EspClass::getFlashChipId() { return 0; }
uint32_t EspClass::getFlashChipRealSize() { return 4 * 1024 * 1024; }
uint32_t EspClass::getFlashChipSize() { return 4 * 1024 * 1024; }
FlashMode_t EspClass::getFlashChipMode() { return FM_DIO; }
uint32_t EspClass::magicFlashChipSize(uint8_t) { return getFlashChipSize(); }
uint32_t EspClass::getSketchSize() { return 0; }
String EspClass::getSketchMD5() { return "d41d8cd98f00b204e9800998ecf8427e"; }
uint32_t EspClass::getFreeSketchSpace() { return 0; }
String EspClass::getResetReason() { return "Power On"; }
uint32_t EspClass::getCycleCount() { return static_cast<uint32_t>(micros() * getCpuFreqMHz()); }
uint8_t EspClass::getCpuFreqMHz() { return F_CPU / 1000000L; }
void EspClass::setDramHeap() {}
void EspClass::resetHeap() {}

// As in the real core, this is what ties the updater to every program.
bool EspClass::updateSketch(Stream &in, uint32_t size, bool restart_on_fail, bool restart_on_success) {
  const bool done = Update.begin(size) && Update.writeStream(in) == size && Update.end();
  if (done ? restart_on_success : restart_on_fail) restart();
  return done;
}
