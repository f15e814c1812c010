// The core's updater.
#pragma once
#include <Arduino.h>

#include <functional>

#define UPDATE_ERROR_OK (0)
#define UPDATE_ERROR_SPACE (4)
#define UPDATE_ERROR_SIZE (5)
#define UPDATE_ERROR_STREAM (6)
#define UPDATE_ERROR_MAGIC_BYTE (10)
#define UPDATE_ERROR_SIGN (12)
#define UPDATE_ERROR_NO_DATA (13)
#define UPDATE_ERROR_OOM (14)

class UpdaterHashClass {
 public:
  virtual void begin() = 0;
  virtual void add(const void *data, uint32_t size) = 0;
  virtual void end() = 0;
  virtual int len() = 0;
  virtual const void *hash() = 0;
  virtual const unsigned char *oid() = 0;
};

class UpdaterVerifyClass {
 public:
  virtual uint32_t length() = 0;
  virtual bool verify(UpdaterHashClass *hash, const void *signature, uint32_t size) = 0;
};

class UpdaterClass {
 public:
  void installSignature(UpdaterHashClass *hash, UpdaterVerifyClass *verify) { _hash = hash; _verify = verify; }
  bool begin(size_t size);
  void onProgress(std::function<void(size_t, size_t)> callback) { _progress = std::move(callback); }
  bool writeStream(Stream &data);
  bool write(const uint8_t *data, size_t size);
  bool end();
  uint8_t getError() const { return _error; }
  size_t size() const { return _size; }
  size_t progress() const { return _written; }

 private:
  bool fail(uint8_t error);

  UpdaterHashClass *_hash = nullptr;
  UpdaterVerifyClass *_verify = nullptr;
  std::function<void(size_t, size_t)> _progress;
  uint32_t _start = 0;
  size_t _size = 0, _written = 0;
  uint8_t _error = UPDATE_ERROR_OK;
};

extern UpdaterClass Update;
