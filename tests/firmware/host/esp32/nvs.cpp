// One space is open at a time.
#include <nvs.h>

#include <cstring>
#include <string>

#include "chip.h"

static std::string opened;

esp_err_t nvs_open(const char *space, nvs_open_mode_t, nvs_handle_t *handle) {
  opened = std::string(space) + "/";
  *handle = 1;
  return ESP_OK;
}

esp_err_t nvs_get_blob(nvs_handle_t, const char *name, void *data, size_t *size) {
  const auto found = chip.nvs.find(opened + name);
  if (found == chip.nvs.end()) return ESP_ERR_NVS_NOT_FOUND;
  if (found->second.size() > *size) return ESP_ERR_NVS_INVALID_LENGTH;
  *size = found->second.size();
  memcpy(data, found->second.data(), *size);
  return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t, const char *name, const void *data, size_t size) {
  if (chip.nvsFails) return ESP_ERR_NVS_NOT_ENOUGH_SPACE;
  flashOperation();
  chip.nvs[opened + name].assign(static_cast<const char *>(data), size);
  flashOperation();
  return ESP_OK;
}

esp_err_t nvs_get_u32(nvs_handle_t handle, const char *name, uint32_t *value) {
  size_t size = sizeof *value;
  return nvs_get_blob(handle, name, value, &size);
}

esp_err_t nvs_set_u32(nvs_handle_t handle, const char *name, uint32_t value) {
  return nvs_set_blob(handle, name, &value, sizeof value);
}

esp_err_t nvs_erase_key(nvs_handle_t, const char *name) {
  if (chip.nvs.count(opened + name) == 0) return ESP_ERR_NVS_NOT_FOUND;
  flashOperation();
  chip.nvs.erase(opened + name);
  flashOperation();
  return ESP_OK;
}

esp_err_t nvs_commit(nvs_handle_t) { return ESP_OK; }
void nvs_close(nvs_handle_t) { opened.clear(); }
