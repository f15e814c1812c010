// What a test sets and sees of the device beside its chip.
#pragma once
#include <map>
#include <string>

namespace otaseal {
class Gate;
}

// An answer without a server, for proofs that are about something else: connections succeed, and this is the file of that
// name; all others are up to date. Only while `used`.
struct Canned {
  bool used = false;
  std::string file;
  std::string body;
  std::string capabilities;  // of that server
  std::string tag;  // of the file; none: it is sent from its beginning
  size_t from = 0;  // this byte of it is sent first

  // The status, and what else there is to know of the answer to a request with these lines.
  int answer(const std::string &uri, const std::string &lines, std::map<std::string, std::string> &headers, int &size);
};

extern Canned canned;

// An update that waits for the boot loader: whether there is one, its payload, and to forget it.
bool isStaged();
bool stage(const std::string &image, otaseal::Gate &gate);  // gives an updater this image, as any way of updating does
std::string staged();
bool startable();  // whether the boot loader could start what is where updates go
void forgetStaged();

// Of an ESP32: starts what its boot loader finds in the folder, and returns the number of the slot; and writes it back.
unsigned bootLoader(const std::string &folder);
void saveSlots(const std::string &folder);

void restartUpdater();  // what it has in RAM is gone

extern std::string sketchMd5;  // of what runs

std::string readFile(const std::string &path);  // exits if it cannot
void writeFile(const std::string &path, const std::string &content);
