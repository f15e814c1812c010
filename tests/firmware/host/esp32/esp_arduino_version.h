#pragma once
#define ESP_ARDUINO_VERSION_VAL(major, minor, patch) ((major) << 16 | (minor) << 8 | (patch))
#define ESP_ARDUINO_VERSION ESP_ARDUINO_VERSION_VAL(2, 0, 17)
