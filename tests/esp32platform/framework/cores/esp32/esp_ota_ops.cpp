// Nothing is ever written.
#include "esp_ota_ops.h"

extern "C" {
int esp_ota_begin(const esp_partition_t *, size_t, esp_ota_handle_t *handle) { return handle != nullptr; }
int esp_ota_set_boot_partition(const esp_partition_t *partition) { return partition != nullptr; }
}
