// The updater, which on this core is a library.
#pragma once
#include <Arduino.h>

#define UPDATE_ERROR_SIGN (12)

class UpdaterHashClass {
 public:
  virtual const void *hash() = 0;
};

class UpdaterVerifyClass {
 public:
  virtual uint32_t length() = 0;
  virtual bool verify(UpdaterHashClass *hash, const void *signature, uint32_t size) = 0;
};

class UpdaterClass {
 public:
  UpdaterClass();
  void installSignature(UpdaterHashClass *hash, UpdaterVerifyClass *verify) { _hash = hash; _verify = verify; }
  bool begin(size_t size) { return size > 0 && (!_verify || _verify->length() > 0); }
  bool end() { return _verify && _verify->verify(_hash, nullptr, 0); }

 private:
  UpdaterHashClass *_hash = nullptr;
  UpdaterVerifyClass *_verify = nullptr;
};

extern UpdaterClass Update;
