// Which of two slots runs, which one the boot loader starts next, and what is known of what lies in them.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;
#ifndef ESP_OK
#define ESP_OK 0
#endif

typedef enum { ESP_PARTITION_TYPE_APP = 0 } esp_partition_type_t;
typedef enum { ESP_PARTITION_SUBTYPE_APP_OTA_0 = 0x10, ESP_PARTITION_SUBTYPE_APP_OTA_1 } esp_partition_subtype_t;
typedef enum {
  ESP_OTA_IMG_NEW = 0,
  ESP_OTA_IMG_PENDING_VERIFY,
  ESP_OTA_IMG_VALID,
  ESP_OTA_IMG_INVALID,
  ESP_OTA_IMG_ABORTED,
  ESP_OTA_IMG_UNDEFINED = 0xffffffff,
} esp_ota_img_states_t;

struct esp_partition_t {
  esp_partition_type_t type;
  esp_partition_subtype_t subtype;
  uint32_t address, size;
};

const esp_partition_t *esp_ota_get_running_partition(void);
const esp_partition_t *esp_ota_get_boot_partition(void);
const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *start);
const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype, const char *label);
esp_err_t esp_ota_set_boot_partition(const esp_partition_t *partition);
esp_err_t esp_ota_get_state_partition(const esp_partition_t *partition, esp_ota_img_states_t *state);
esp_err_t esp_ota_mark_app_valid_cancel_rollback(void);

// Flash: erased in sectors to ones, written to zeros only.
esp_err_t esp_partition_read(const esp_partition_t *partition, size_t offset, void *data, size_t size);
esp_err_t esp_partition_write(const esp_partition_t *partition, size_t offset, const void *data, size_t size);
esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size);
