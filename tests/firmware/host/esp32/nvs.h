// ESP-IDF's store of settings, of which a value is replaced as a whole.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;
typedef uint32_t nvs_handle_t;
typedef enum { NVS_READONLY, NVS_READWRITE } nvs_open_mode_t;

#define ESP_OK 0
#define ESP_ERR_NVS_NOT_FOUND 0x1102
#define ESP_ERR_NVS_NOT_ENOUGH_SPACE 0x1105
#define ESP_ERR_NVS_INVALID_LENGTH 0x110c

esp_err_t nvs_open(const char *space, nvs_open_mode_t mode, nvs_handle_t *handle);
esp_err_t nvs_get_blob(nvs_handle_t handle, const char *name, void *data, size_t *size);
esp_err_t nvs_set_blob(nvs_handle_t handle, const char *name, const void *data, size_t size);
esp_err_t nvs_get_u32(nvs_handle_t handle, const char *name, uint32_t *value);
esp_err_t nvs_set_u32(nvs_handle_t handle, const char *name, uint32_t value);
esp_err_t nvs_erase_key(nvs_handle_t handle, const char *name);
esp_err_t nvs_commit(nvs_handle_t handle);
void nvs_close(nvs_handle_t handle);
