// Which of two slots runs, and which one the boot loader starts next.
#pragma once
#include <stdint.h>

struct esp_partition_t {
  uint32_t address, size;
};

const esp_partition_t *esp_ota_get_running_partition(void);
const esp_partition_t *esp_ota_get_boot_partition(void);
const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *start);
int esp_ota_set_boot_partition(const esp_partition_t *partition);  // 0: done
