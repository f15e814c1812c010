// SNTP: the host's clock is already set.
#include <Arduino.h>

void setTZ(const char *) {}
void configTime(int, int, const char *, const char *, const char *) {}
void configTime(const char *, const char *, const char *, const char *) {}

bool getLocalTime(struct tm *info, uint32_t) {
  const time_t now = time(nullptr);
  return localtime_r(&now, info) != nullptr;
}
