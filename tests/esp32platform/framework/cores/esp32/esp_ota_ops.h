// Of ESP-IDF: writing into the other slot by itself, without the core's updater.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct esp_partition_t esp_partition_t;
typedef uint32_t esp_ota_handle_t;

#ifdef __cplusplus
extern "C" {
#endif
int esp_ota_begin(const esp_partition_t *partition, size_t size, esp_ota_handle_t *handle);
int esp_ota_set_boot_partition(const esp_partition_t *partition);
#ifdef __cplusplus
}
#endif
