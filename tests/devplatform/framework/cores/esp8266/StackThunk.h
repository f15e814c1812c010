// The second stack of the cores that have one: here it is the only one, but whoever calls a thunk has to hold it (F98).
#pragma once
#include <cstdlib>

inline int secondStack = 0;
inline void stack_thunk_add_ref() { secondStack++; }
inline void stack_thunk_del_ref() { secondStack--; }

#if defined(ARDUINO_ARCH_ESP8266)
#define make_stack_thunk(function)                                                                        \
  extern "C" bool thunk_##function(const uint8_t *secret, const uint8_t *digest, uint8_t *out) { \
    if (secondStack <= 0) abort();                                                                        \
    return function(secret, digest, out);                                                                 \
  }
#else
#define make_stack_thunk_bool(function, declared, given) \
  extern "C" bool thunk_##function declared {            \
    if (secondStack <= 0) abort();                       \
    return function given;                               \
  }
#endif
