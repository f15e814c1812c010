"""What the OtaSeal library adds to a sketch: flash and RAM, beside the same updates written by hand on the core.

    python bench/firmware_size.py --core <checkout of esp8266/Arduino> [--libstdcxx <folder>]... [--libc <folder>]...

Compiles the two examples, the library and the core (its own code, Wi-Fi, HTTP client, HTTP updater) with
xtensa-lx106-elf-g++ and the core's flags, and links each example with all of it as PlatformIO does: objects of the core
come out of an archive, what setup() and loop() do not reach is dropped, calls are relaxed. Both verify signatures:
the header with the public key that verify_updates.py makes is compiled into the core's updater on both sides.
So a function of the core counts for the side that pulls it in, and cancels out where both do. One thing that the sketch
by hand pulls in has nothing to do with updates, the choice among several networks: what it comes to is printed, too.

Left out on both sides, each name at one address in reach of a call: Espressif's SDK, lwIP, BearSSL, the C and C++
libraries, the start-up code, and LittleFS, which both mount and which is reached whole, by virtual functions. What only
one side asks of these is printed, since it is missing in that side's sum.

Flash is the whole image: code, PROGMEM, and the first values of what lies in RAM. RAM is what the chip keeps there for
good: variables, and on this chip constants that are not in PROGMEM. Debian's compiler comes without the C++ library's
headers: `--libstdcxx` (also its subfolder for the target) and `--libc` are folders that have some, as the packages
libstdc++-arm-none-eabi-dev and libnewlib-dev do.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from otaseal.image import build_header, signing_header
from otaseal.image.manifest import Claim
from otaseal.keys import signers

PREFIX = "xtensa-lx106-elf-"
LIBRARY = ROOT / "firmware" / "OtaSeal" / "src"
EXAMPLES = ROOT / "examples"
PROOF_FLASH = 1200
"""What the proof may cost, with the hooks of an enrolment that is not used."""
ENROLMENT_FLASH = 3700
"""What enrolment may add, over the air and at the bench."""
TARGET_FLASH, TARGET_RAM = 6 * 1024 + PROOF_FLASH, 1024
LIBRARIES = ("ESP8266WiFi", "ESP8266HTTPClient", "ESP8266httpUpdate", "LittleFS")
NOT_COMPILED = ("core_esp8266_main.cpp", "LittleFS/src", "bearssl")
"""Of the core: the start-up code wants more of the C++ library than its headers; the others are in submodules."""
CODE = "-mlongcalls -mtext-section-literals -Os -ffunction-sections"
STANDARDS = {".c": "-std=gnu17", ".cpp": "-std=gnu++17 -fno-exceptions -fno-rtti"}
DEFINES = (
    "__ets__ ICACHE_FLASH _GNU_SOURCE ESP8266 ARDUINO=10805 ARDUINO_ARCH_ESP8266 F_CPU=80000000L FLASHMODE_DIO "
    "LWIP_OPEN_SRC NONOSDK22x_190703=1 TCP_MSS=536 LWIP_FEATURES=1 LWIP_IPV6=0 VTABLES_IN_FLASH "
    'MMU_IRAM_SIZE=0x8000 MMU_ICACHE_SIZE=0x8000 ARDUINO_BOARD="X" ARDUINO_BOARD_ID="nodemcuv2"'
)
SOMEWHERE = "0x40210000"  # within reach of a relaxed call
LAYOUT = """\
ENTRY(setup)
SECTIONS {
  .flash 0x40201000 : { *(.irom* .iram* .text* .literal* .rodata._ZTV*) KEEP(*(.init_array* .ctors*)) }
  .ram 0x3ffe8000 : { *(.data* .rodata*) }
  .zero 0x3fff0000 (NOLOAD) : { *(.bss* COMMON) }
}
"""
ROOTS = ("-u", "setup", "-u", "loop")
MULTI = """\
#include <ESP8266WiFiMulti.h>
static ESP8266WiFiMulti wifi;
extern "C" uint8_t several_networks() { return wifi.addAP("network", "password") ? wifi.run() : 0; }
"""
"""What the sketch by hand has and the example with the library has not, and what is no part of updates."""
BEFORE = "  if (!updates.begin())"
ASKS = "  updates.askFirst([](const otaseal::Pending &) { return otaseal::Answer::Later; });\n"
WINDOW = '  updates.maintenance(2, 4, "CET-1CEST,M3.5.0,M10.5.0/3");\n'
"""Lines of a sketch that asks before an update, and what stands behind them in the example."""


@dataclass(frozen=True)
class Size:
    """Bytes, and the names that the program asks of what is left out."""

    flash: int
    ram: int
    asks: frozenset[str]


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    if "warning" in done.stderr:
        print(done.stderr, file=sys.stderr)
    return done.stdout


@dataclass(frozen=True)
class Builder:
    """Compiles and links in `folder`, against the core at `core`."""

    folder: Path
    core: Path
    includes: tuple[Path, ...]

    def compile(self, source: Path, *includes: Path) -> Path:
        """Return the object that a source of ours, with all warnings, or of the core becomes."""
        sdk = self.core / "tools" / "sdk" / "include"
        core = [*self.includes, sdk, sdk.parent / "lwip2" / "include", self.core / "cores" / "esp8266"]
        core += [self.core / "variants" / "nodemcu", *(self.core / "libraries" / name / "src" for name in LIBRARIES)]
        ours = not source.is_relative_to(self.core)
        command = [f"{PREFIX}g{'cc' if source.suffix == '.c' else '++'}", *CODE.split(), "-U__STRICT_ANSI__"]
        command += [*STANDARDS[source.suffix].split(), *(("-Wall", "-Wextra", "-Wpedantic") if ours else ("-w",))]
        command += [f"-D{one}" for one in DEFINES.split()]
        command += ["-nostdinc++"] * bool(self.includes and source.suffix == ".cpp")
        command += [f"-I{path}" for path in (self.folder, *includes)]
        for path in core:
            command += ["-isystem", str(path)]
        made = self.folder / (re.sub(r"\W", "_", str(source)) + ".o")
        run(*command, "-c", source, "-o", made)
        return made

    def compile_core(self) -> Path:
        """Return the archive of all that the core and its libraries have for an update."""
        folders = [self.core / "cores" / "esp8266", *(self.core / "libraries" / name / "src" for name in LIBRARIES)]
        found = sorted(one for folder in folders for one in folder.rglob("*.c*") if one.suffix in STANDARDS)
        wanted = [one for one in found if not any(part in one.as_posix() for part in NOT_COMPILED)]
        made = self.folder / "core.a"
        with ThreadPoolExecutor() as pool:
            run(f"{PREFIX}ar", "rcs", made, *pool.map(self.compile, wanted))
        return made

    def size(self, core: Path, objects: Sequence[Path], *also: str) -> Size:
        """Return what these come to with what they need of the core; `also`: what to keep beside setup and loop."""
        roots = [*ROOTS, *(part for name in also for part in ("-u", name))]
        whole, script, program = (self.folder / name for name in ("whole.o", "layout.ld", "program.elf"))
        script.write_text(LAYOUT)
        run(f"{PREFIX}ld", "-r", *roots, "-o", whole, *objects, core)
        missing = frozenset(line.split()[-1] for line in run(f"{PREFIX}nm", "-u", whole).splitlines())
        defined = [f"--defsym={name}={SOMEWHERE}" for name in missing]
        linker = [f"{PREFIX}ld", "--no-warn-rwx-segments", "--gc-sections", "--relax", *roots, "-T", script]
        run(*linker, *defined, "-o", program, *objects, core)
        lines = [line.split() for line in run(f"{PREFIX}size", "-A", program).splitlines() if line[:1] == "."]
        sections = {line[0]: int(line[1]) for line in lines}
        flash, ram, zero = (sections.get(name, 0) for name in (".flash", ".ram", ".zero"))
        return Size(flash + ram, ram + zero, missing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", type=Path, required=True, help="a checkout of esp8266/Arduino")
    parser.add_argument("--libstdcxx", type=Path, action="append", default=[], help="headers of the C++ library")
    parser.add_argument("--libc", type=Path, action="append", default=[], help="headers of the C library")
    options = parser.parse_args()
    key, other = (signers.new_signing_key().public_key() for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        builder = Builder(Path(name), options.core.resolve(), (*options.libstdcxx, *options.libc))
        (Path(name) / "Updater_Signing.h").write_text(signing_header.render(key))
        core = builder.compile_core()
        example = EXAMPLES / "secure_ota_by_hand"
        hand = builder.size(core, [builder.compile(example / "src" / "main.cpp", example / "include")])
        sizes = {}
        for what, next_key in (("one key", None), ("two keys", other)):
            header = build_header.render(Claim("blink", "nodemcuv2", "1.0.0", build_time=1), key, next_key)
            (Path(name) / build_header.NAME).write_text(header)
            objects = [builder.compile(source, LIBRARY) for source in sorted(LIBRARY.rglob("*.cpp"))]
            example = EXAMPLES / "secure_ota"
            objects.append(builder.compile(example / "src" / "main.cpp", example / "include", LIBRARY))
            sizes[what] = builder.size(core, objects)
        example = EXAMPLES / "enrolled_device"
        enrolling = builder.compile(example / "src" / "main.cpp", example / "include", LIBRARY)
        enrolled = builder.size(core, [*objects[:-1], enrolling])
        asking = []
        for lines in (ASKS, ASKS + WINDOW):
            sketch = Path(name) / f"asks_{len(asking)}.cpp"
            text = (EXAMPLES / "secure_ota" / "src" / "main.cpp").read_text()
            assert BEFORE in text
            sketch.write_text(text.replace(BEFORE, lines + BEFORE))
            made = builder.compile(sketch, EXAMPLES / "secure_ota" / "include", LIBRARY)
            asking.append(builder.size(core, [*objects[:-1], made]))
        multi = Path(name) / "several_networks.cpp"
        multi.write_text(MULTI)
        same = builder.size(core, [*objects, builder.compile(multi)], "several_networks")
    print(f"{run(f'{PREFIX}g++', '--version').splitlines()[0]}, core at {options.core.resolve().name}")
    print(f"by hand (examples/secure_ota_by_hand): {hand.flash} bytes of flash, {hand.ram} of RAM")
    for what, size in sizes.items():
        more, ram = size.flash - hand.flash, size.ram - hand.ram
        print(f"with the library, {what}: {size.flash} bytes of flash, {size.ram} of RAM: {more:+} and {ram:+}")
    more, ram = enrolled.flash - sizes["two keys"].flash, enrolled.ram - sizes["two keys"].ram
    print(f"with enrolment besides (examples/enrolled_device): {more:+} bytes of flash and {ram:+} of RAM")
    print(f"target of that: at most {ENROLMENT_FLASH:+}")
    print(f"it asks for what is left out: {' '.join(sorted(enrolled.asks - sizes['two keys'].asks)) or 'nothing'}")
    asks, window = (one.flash - sizes["two keys"].flash for one in asking)
    print(f"asking before an update: {asks:+} bytes of flash, in a window of local time: {window:+}")
    newlib = asking[1].asks - sizes["two keys"].asks
    print(f"it asks for what is left out: {' '.join(sorted(newlib)) or 'nothing'}")
    choice = same.flash - sizes["two keys"].flash
    print(
        f"by hand includes {choice} bytes of flash for a choice of networks (ESP8266WiFiMulti), the library's does not"
    )
    print(f"target: at most {TARGET_FLASH:+} and {TARGET_RAM:+}")
    asks = frozenset().union(*(size.asks for size in sizes.values()))
    print(f"left out, and asked for by hand only: {' '.join(sorted(hand.asks - asks)) or 'nothing'}")
    print(f"left out, and asked for by the library only: {' '.join(sorted(asks - hand.asks)) or 'nothing'}")
    print("beside that: heap while a poll runs as by hand; 1 KB more while an archive is checked; none in between")


if __name__ == "__main__":
    main()
