// The updater.
#pragma once
#include <Arduino.h>

#define UPDATE_ERROR_OK (0)
#define UPDATE_ERROR_WRITE (1)
#define UPDATE_ERROR_ERASE (2)
#define UPDATE_ERROR_READ (3)
#define UPDATE_ERROR_SPACE (4)
#define UPDATE_ERROR_SIZE (5)
#define UPDATE_ERROR_STREAM (6)
#define UPDATE_ERROR_MD5 (7)
#define UPDATE_ERROR_FLASH_CONFIG (8)
#define UPDATE_ERROR_NEW_FLASH_CONFIG (9)
#define UPDATE_ERROR_MAGIC_BYTE (10)
#define UPDATE_ERROR_BOOTSTRAP (11)
#define UPDATE_ERROR_SIGN (12)
#define UPDATE_ERROR_NO_DATA (13)
#define UPDATE_ERROR_OOM (14)

#define U_FLASH 0
#define U_FS 100
#define U_AUTH 200

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
  using THandlerFunction_Progress = Callback<void(size_t, size_t)>;
  using THandlerFunction_Error = Callback<void(uint8_t)>;
  using THandlerFunction = Callback<void()>;

  UpdaterClass();
  ~UpdaterClass();
  void installSignature(UpdaterHashClass *hash, UpdaterVerifyClass *verify) { _hash = hash; _verify = verify; }
  bool begin(size_t size, int command = U_FLASH, int ledPin = -1, uint8_t ledOn = LOW);
  void runAsync(bool) {}
  size_t write(uint8_t *data, size_t size);
  size_t writeStream(Stream &data, uint16_t timeout = 60000);
  bool end(bool evenIfRemaining = false);
  String getErrorString() const;
  void printError(Print &out);
  bool setMD5(const char *expected);
  String md5String() { return String(); }
  UpdaterClass &onProgress(THandlerFunction_Progress fn) { _progress = fn; return *this; }
  UpdaterClass &onError(THandlerFunction_Error fn) { _failed = fn; return *this; }
  UpdaterClass &onStart(THandlerFunction fn) { _started = fn; return *this; }
  UpdaterClass &onEnd(THandlerFunction fn) { _ended = fn; return *this; }
  uint8_t getError() { return _error; }
  void clearError() { _error = UPDATE_ERROR_OK; }
  bool hasError() { return _error != UPDATE_ERROR_OK; }
  bool isRunning() { return _size > 0; }
  bool isFinished() { return false; }
  size_t size() { return _size; }
  size_t progress() { return _written; }
  size_t remaining() { return _size - _written; }

 private:
  bool fail(uint8_t error);

  size_t _size = 0, _written = 0;
  uint8_t _error = UPDATE_ERROR_OK;
  UpdaterHashClass *_hash = nullptr;
  UpdaterVerifyClass *_verify = nullptr;
  THandlerFunction_Progress _progress;
  THandlerFunction_Error _failed;
  THandlerFunction _started, _ended;
};

extern UpdaterClass Update;
