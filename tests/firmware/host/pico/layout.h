// Where a Pico's flash and the filesystem in it lie.
#pragma once
#include <cstdint>

constexpr uint32_t FLASH_BASE = 0x10000000, FILES_BEGIN = FLASH_BASE + 0x100000, FILES_END = FILES_BEGIN + 0x2ff000;
