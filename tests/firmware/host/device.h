// What a test sets and sees of the device beside its chip.
#pragma once
#include <string>

// An answer without a server, for proofs that are about something else: connections succeed, firmware is up to date, and
// the certificate archive is this. Only while `used`.
struct Canned {
  bool used = false;
  std::string body;
};

extern Canned canned;
extern std::string sketchMd5;  // of what runs

std::string readFile(const std::string &path);  // exits if it cannot
void writeFile(const std::string &path, const std::string &content);
