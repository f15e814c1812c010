// Of the cores' base64 what the library uses: the digit of a value below 64.
#pragma once

inline char base64_encode_value(char value) {
  return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[static_cast<unsigned char>(value)];
}
