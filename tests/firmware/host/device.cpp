/* A device with the library, for one stretch between two restarts.
 *
 *   device FOLDER [name=value...]
 *
 * FOLDER/fs is its filesystem, read at the start and written back at the end; FOLDER/staged.bin is what the boot loader
 * would copy, if an update was installed. Values: server, port, product, channel, polls (asked for), minutes (then let
 * it run by its own schedule), hints (seconds + 1: then it is told to poll within so many, all the time), interval (seconds), clock (Unix seconds at the
 * start; 1970 by default), ntp (what a time server says), floor (build time), identity, key, next, version (files),
 * sketch (file), sketch_size, sketch_md5, mode (of the flash), stack (a Pico's), chip, revision, slot, sectors, one_slot (an ESP32's: of the slot,
 * before its flash fails, no other slot), second (1: another object polls during a download), busy (1: something else updates),
 * claim (a code; "-" for none), line (number of the file that is the serial line to a bench, served until it hangs up),
 * replaces (0: no rename over a file), heap, block (bytes), restart (0: do not), mountable (0: no), online (0: no), pace (ms a byte), silent_after (bytes, then a
 * connection stands still, once),
 * cut_after (bytes, then the power fails), cut_at (operation on flash, at which it does),
 * ask (later, in-use, low-power, install, the version that it takes, nobody: what the sketch answers), patience, security_patience (seconds), times (that it
 * may put an update off), window (as 22-4), zone (of its time), automatic (0, 1: said after begin()), install (1: at once,
 * in the place of a poll), jump (seconds that its clock is set by, after half of the minutes),
 * mac (of its station), address (of an ESP8266: the one of 127.0.0.0/8 that it asks from), nvs (0: it cannot be written).
 * FOLDER/nvs and those that begin with nvs- are what an ESP32 keeps beside its filesystem.
 * With boot=waits or boot=plain an ESP32 starts as its boot loader says, from FOLDER/otadata, slot0 and slot1; a value named
 * 1.port is then for the firmware in slot 1 alone. crash (before, after: a reset, of begin()), starts, seconds (of its trial),
 * reset (why it has started, as ESP-IDF numbers it).
 * Prints "begin 0|1 ERROR", a line "result NAME ERROR DETAIL" for every result, and at the end what the chip saw.
 */
#include <OtaSeal.h>
#if defined(ARDUINO_ARCH_ESP32)
#include <Update.h>
#endif

#include <filesystem>
#include <iostream>
#include <map>
#include <string>

#include "chip.h"
#include "device.h"
#include "disk.h"
#include "serial_line.h"

#undef time

namespace {

constexpr int SILENCE_MS = 60 * 1000;
constexpr uint32_t LOOPS = 45, LOOP_MS = 1000;  // of a poll: more than the clock is waited for

std::map<std::string, std::string> options;
std::string slot;  // that runs, with a point behind it

std::string option(const std::string &name, const std::string &otherwise = "") {
  auto found = options.find(slot + name);
  if (found == options.end()) found = options.find(name);
  return found == options.end() ? otherwise : found->second;
}

uint32_t number(const std::string &name, uint32_t otherwise) {
  const std::string found = option(name);
  return found.empty() ? otherwise : static_cast<uint32_t>(std::stoul(found));
}

size_t progressed = 0;

OtaSeal *second = nullptr;  // polls while the first one downloads

void onProgress(size_t done, size_t) {
  progressed = done;
  if (second == nullptr) return;
  OtaSeal &other = *second;
  second = nullptr;
  other.pollNow();
  for (int i = 0; i < 4; i++) other.poll();
}

const OtaSeal *device = nullptr;
uint32_t longest = 0;  // milliseconds that poll() took
std::vector<uint32_t> results;  // when there was one, in seconds since the start

void pollOnce(OtaSeal &updates) {
  const uint32_t since = chip.milliseconds;
  updates.poll();
  if (chip.milliseconds - since > longest) longest = chip.milliseconds - since;
  delay(LOOP_MS);
}

void onResult(OtaSeal::Result result, OtaSeal::Error error) {
  results.push_back(chip.milliseconds / 1000);
  static const char *const names[] = {"up-to-date", "installed", "renewed", "failed", "enrolled", "postponed"};
  std::cout << "result " << names[static_cast<int>(result)] << ' ' << static_cast<int>(error) << ' '
            << device->lastErrorDetail() << std::endl;
}

std::string text(const String &words) { return words.isEmpty() ? "-" : words.c_str(); }

void show(const char *what, const otaseal::Pending &update) {
  std::cout << what << ' ' << text(update.version) << ' ' << update.size << ' ' << update.since << ' ' << update.left << ' '
            << update.security << ' ' << text(update.severity) << ' ' << text(update.notes) << std::endl;
}

otaseal::Answer onAsk(const otaseal::Pending &update) {
  show("asked", update);
  const std::string answer = option("ask");
  return answer == "later"     ? otaseal::Answer::Later
         : answer == "in-use"  ? otaseal::Answer::InUse
         : answer == "install" || answer == update.version.c_str() ? otaseal::Answer::Install
                               : otaseal::Answer::LowPower;
}

std::string window, zone;

void askFirst(OtaSeal &updates) {
  if (!option("ask").empty()) {
    otaseal::Patience most(number("patience", 7 * 86400), number("security_patience", 86400));
    most.times = static_cast<uint16_t>(number("times", most.times));
    updates.askFirst(option("ask") == "nobody" ? nullptr : onAsk, most);
  }
  window = option("window");
  zone = option("zone");
  if (window.empty()) return;
  const size_t dash = window.find('-');
  const auto hour = [](const std::string &digits) { return static_cast<uint8_t>(std::stoul(digits)); };
  updates.maintenance(hour(window.substr(0, dash)), hour(window.substr(dash + 1)), zone.empty() ? nullptr : zone.c_str());
}

// Until the bench at the other end is gone, or silent for longer than any test is.
void serve(OtaSeal &updates, int line) {
  if (line == 0) return;
  SerialLine serial(line);
  while (serial.wait(SILENCE_MS)) {
    if (number("sleeps", 0) != 0) serial.sleep();
    updates.enroll(serial);
  }
}

#if defined(ARDUINO_ARCH_ESP32)
void start(const std::string &folder) {
  const std::string kind = option("boot");
  if (kind.empty()) return;
  chip.waits = kind == "waits";
  const unsigned runs = bootLoader(folder);
  std::cout << "runs " << runs << std::endl;
  slot = std::to_string(runs) + ".";
  chip.resetReason = static_cast<int>(number("reset", static_cast<uint32_t>(chip.resetReason)));
}
#endif

const std::map<std::string, std::string> KEPT = {{"otaseal/secret", "/nvs"}, {"otaseal/trial", "/nvs-trial"},
                                                 {"otaseal/download", "/nvs-download"}, {"otaseal/done", "/nvs-done"}};

void setUp(const std::string &folder) {
  for (const auto &entry : std::filesystem::directory_iterator(folder + "/fs")) {
    disk.files["/" + entry.path().filename().string()] = readFile(entry.path().string());
  }
  for (const auto &one : KEPT) {
    if (std::filesystem::exists(folder + one.second)) chip.nvs[one.first] = readFile(folder + one.second);
  }
  disk.mountable = number("mountable", 1);
  disk.room = number("room", 1 << 20);
  chip.timeAtStart = number("clock", 0);
  chip.networkTime = number("ntp", 0);
  chip.sketchSize = number("sketch_size", 0x40000);
  chip.flashMode = static_cast<uint8_t>(number("mode", 2));
  chip.freeHeap = number("heap", 40000);
  chip.largestBlock = number("block", 32000);
  chip.online = number("online", 1);
  chip.nvsFails = number("nvs", 1) == 0;
  chip.mac = option("mac", chip.mac);
  chip.address = option("address", chip.address);
  chip.stack = number("stack", chip.stack);
  chip.id = static_cast<uint16_t>(number("chip", chip.id));
  chip.revision = static_cast<uint16_t>(number("revision", chip.revision));
  chip.slot.resize(number("slot", static_cast<uint32_t>(chip.slot.size())), 0xff);
  chip.oneSlot = number("one_slot", 0) != 0;
  chip.writesBeforeFailure = number("sectors", chip.writesBeforeFailure);
  disk.replaces = number("replaces", 1);
  chip.pace = number("pace", 0);
  chip.silentAfter = number("silent_after", 0);
  chip.cutAfter = number("cut_after", 0);
  disk.cutAt = number("cut_at", 0);
  chip.chance = number("chance", 1);
  sketchMd5 = option("sketch_md5", sketchMd5);
  const bool isThere = !option("boot").empty() || option("sketch").empty();
  const std::string sketch = isThere ? "" : readFile(option("sketch"));
  std::copy(sketch.begin(), sketch.end(), chip.flash.begin());
}

void tearDown(const std::string &folder) {
  std::filesystem::remove_all(folder + "/fs");
  std::filesystem::create_directory(folder + "/fs");
  for (const auto &file : disk.files) writeFile(folder + "/fs" + file.first, file.second);
  for (const auto &one : KEPT) {
    const auto found = chip.nvs.find(one.first);
    std::filesystem::remove(folder + one.second);
    if (found != chip.nvs.end()) writeFile(folder + one.second, found->second);
  }
  if (isStaged()) writeFile(folder + "/staged.bin", staged());
#if defined(ARDUINO_ARCH_ESP32)
  if (!option("boot").empty()) saveSlots(folder);
#endif
}

// Until it restarts, or has polled often enough; or, where it crashes, only begins.
void live(OtaSeal &updates, bool crashes) {
  askFirst(updates);
  const bool ready = updates.begin();
  std::cout << "begin " << ready << ' ' << static_cast<int>(updates.lastError()) << std::endl;
  if (crashes) return;
  if (!option("automatic").empty()) std::cout << "kept " << updates.automatic(number("automatic", 1) != 0) << std::endl;
  serve(updates, static_cast<int>(number("line", 0)));
  for (uint32_t poll = number("polls", 1); poll > 0 && !chip.restarted; poll--) {
    number("install", 0) != 0 ? updates.installNow() : updates.pollNow();
    for (uint32_t i = 0; i < LOOPS && !chip.restarted; i++) {
      pollOnce(updates);
    }
  }
  const uint32_t hints = number("hints", 0);
  const uint32_t half = 30 * number("minutes", 0);
  for (uint32_t seconds = 2 * half; seconds > 0 && !chip.restarted; seconds--) {
    if (seconds == half) chip.networkTime += number("jump", 0);
    if (hints != 0) updates.pollNow(hints - 1);
    pollOnce(updates);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  const std::string folder = argv[1];
  for (int i = 2; i < argc; i++) {
    const std::string text = argv[i];
    options[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
#if defined(ARDUINO_ARCH_ESP32)
  start(folder);
#endif
  setUp(folder);
  const std::string crash = option("crash");
  if (crash == "before") {
    tearDown(folder);
    return 0;
  }
  const std::string identity = option("identity").empty() ? "" : readFile(option("identity"));
  const std::string key = option("key").empty() ? "" : readFile(option("key"));
  const std::string next = option("next").empty() ? "" : readFile(option("next"));
  otaseal::Build build = otaseal::build();
  if (!identity.empty()) build.identity = reinterpret_cast<const uint8_t *>(identity.data());
  if (!key.empty()) build.key = key.c_str();
  if (!next.empty()) build.nextKey = next.c_str();
  const std::string version = option("version").empty() ? "" : readFile(option("version"));
  if (!option("version").empty()) build.version = version.c_str();
  build.time = number("floor", build.time);
  const std::string server = option("server", "localhost"), product = option("product", "blink");
  const std::string channel = option("channel");
  OtaSeal updates(server.c_str(), static_cast<uint16_t>(number("port", 0)), product.c_str(),
                  channel.empty() ? nullptr : channel.c_str(), build);
  device = &updates;
  updates.onProgress(onProgress);
  updates.onResult(onResult);
  updates.interval(number("interval", 3600));
  updates.restartAfterUpdate(number("restart", 1) != 0);
  OtaSeal other(server.c_str(), static_cast<uint16_t>(number("port", 0)), product.c_str(), nullptr, build);
  if (number("second", 0)) {
    other.onResult(onResult);
    other.begin();
    second = &other;
  }
  if (number("busy", 0)) Update.begin(1000);
  const std::string claim = option("claim");
  if (!claim.empty()) updates.claim(claim == "-" ? nullptr : claim.c_str());
#if defined(ARDUINO_ARCH_ESP32)
  if (!option("starts").empty()) {
    updates.trial(static_cast<uint8_t>(number("starts", 0)), number("seconds", otaseal::trial::SECONDS));
  }
#endif
  try {
    live(updates, crash == "after");
  } catch (const PowerCut &) {
    std::cout << "cut 1" << std::endl;
  }
  if (updates.pending()) show("pending", updates.pending());
  std::cout << "automatic " << updates.isAutomatic() << '\n';
  std::cout << "error " << static_cast<int>(updates.lastError()) << ' ' << reinterpret_cast<const char *>(updates.lastErrorText()) << "\nrestarted "
            << chip.restarted << "\nprobes " << chip.probes << "\nresumed " << chip.resumed << "\nformatted "
            << disk.formatted << "\nprogress " << progressed << "\nlongest " << longest << "\ncame " << chip.given << "\noperations " << disk.operations << "\nstartable " << startable() << "\nbuffers";
  for (const uint16_t size : chip.buffers) std::cout << ' ' << size;
  std::cout << "\nwhen";
  for (const uint32_t time : results) std::cout << ' ' << time;
  std::cout << std::endl;
  tearDown(folder);
  return 0;
}
