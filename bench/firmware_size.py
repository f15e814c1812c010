"""What the OtaSeal library adds to a sketch: flash and RAM, beside the same updates written by hand on the core.

    python bench/firmware_size.py --core <checkout of esp8266/Arduino> [--libstdcxx <folder>]... [--libc <folder>]...

Compiles the two examples and the library with xtensa-lx106-elf-g++ and the core's own flags, and links each as far as
it goes without the core: what the examples do not reach is dropped, calls are relaxed, and what the core defines stands
at one address in reach. So nothing of the core is counted, neither what both use nor what one of them pulls in alone.
Flash is code and PROGMEM, the public keys included; RAM is what the chip keeps there for good: variables, and on this
chip constants that are not in PROGMEM. Debian's compiler comes without the C++ library's headers: `--libstdcxx` (also
its subfolder for the target) and `--libc` are folders that have some, as the packages libstdc++-arm-none-eabi-dev and
libnewlib-dev do.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from otaseal import build_header, keys
from otaseal.manifest import Claim

PREFIX = "xtensa-lx106-elf-"
LIBRARY = ROOT / "firmware" / "OtaSeal" / "src"
TARGET_FLASH, TARGET_RAM = 6 * 1024, 1024
LIBRARIES = ("ESP8266WiFi", "ESP8266HTTPClient", "ESP8266httpUpdate", "LittleFS")
CODE = "-mlongcalls -mtext-section-literals -std=gnu++17 -Os -fno-exceptions -fno-rtti -ffunction-sections"
DEFINES = (
    "__ets__ ICACHE_FLASH _GNU_SOURCE ESP8266 ARDUINO=10805 ARDUINO_ARCH_ESP8266 F_CPU=80000000L FLASHMODE_DIO "
    "LWIP_OPEN_SRC NONOSDK22x_190703=1 TCP_MSS=536 LWIP_FEATURES=1 LWIP_IPV6=0 VTABLES_IN_FLASH "
    "MMU_IRAM_SIZE=0x8000 MMU_ICACHE_SIZE=0x8000"
)
SOMEWHERE = "0x40210000"  # within reach of a relaxed call
LAYOUT = """\
ENTRY(setup)
SECTIONS {
  .flash 0x40201000 : { *(.irom* .text* .literal* .rodata._ZTV*) KEEP(*(.init_array* .ctors*)) }
  .ram 0x3ffe8000 : { *(.data* .rodata*) }
  .zero 0x3fff0000 (NOLOAD) : { *(.bss* COMMON) }
}
"""


@dataclass(frozen=True)
class Size:
    """Bytes."""

    flash: int
    ram: int


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
        sdk = self.core / "tools" / "sdk" / "include"
        core = [*self.includes, sdk, sdk.parent / "lwip2" / "include", self.core / "cores" / "esp8266"]
        core += [self.core / "variants" / "nodemcu", *(self.core / "libraries" / name / "src" for name in LIBRARIES)]
        command = [f"{PREFIX}g++", *CODE.split(), "-Wall", "-Wextra", "-U__STRICT_ANSI__", "-c", source]
        command += [f"-D{one}" for one in DEFINES.split()] + ["-nostdinc++"] * bool(self.includes)
        command += [f"-I{path}" for path in (self.folder, *includes)]
        for path in core:
            command += ["-isystem", str(path)]
        made = self.folder / (re.sub(r"\W", "_", str(source.relative_to(ROOT))) + ".o")
        run(*command, "-o", made)
        return made

    def size(self, *objects: Path) -> Size:
        """Return what these come to when all that is not reached from setup() and loop() is dropped."""
        whole, script, program = (self.folder / name for name in ("whole.o", "layout.ld", "program.elf"))
        script.write_text(LAYOUT)
        run(f"{PREFIX}ld", "-r", "-o", whole, *objects)
        missing = [line.split()[-1] for line in run(f"{PREFIX}nm", "-u", whole).splitlines()]
        defined = [f"--defsym={name}={SOMEWHERE}" for name in missing]
        linker = [
            f"{PREFIX}ld",
            "--no-warn-rwx-segments",
            "--gc-sections",
            "--relax",
            "-u",
            "setup",
            "-u",
            "loop",
            "-T",
            script,
        ]
        run(*linker, *defined, "-o", program, *objects)
        sections = {
            line.split()[0]: line.split()[1] for line in run(f"{PREFIX}size", "-A", program).splitlines() if "." in line
        }
        flash, ram, zero = (int(sections.get(name, 0)) for name in (".flash", ".ram", ".zero"))
        return Size(flash, ram + zero)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", type=Path, required=True, help="a checkout of esp8266/Arduino")
    parser.add_argument("--libstdcxx", type=Path, action="append", default=[], help="headers of the C++ library")
    parser.add_argument("--libc", type=Path, action="append", default=[], help="headers of the C library")
    options = parser.parse_args()
    key, other = (keys.new_signing_key().public_key() for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        builder = Builder(Path(name), options.core.resolve(), (*options.libstdcxx, *options.libc))
        examples = ROOT / "examples"
        hand = builder.size(
            builder.compile(
                examples / "secure_ota_by_hand" / "src" / "main.cpp", examples / "secure_ota_by_hand" / "include"
            )
        )
        sizes = {}
        for what, next_key in (("one key", None), ("two keys", other)):
            header = build_header.render(Claim("blink", "nodemcuv2", "1.0.0", build_time=1), key, next_key)
            (Path(name) / build_header.NAME).write_text(header)
            objects = [builder.compile(source, LIBRARY) for source in sorted(LIBRARY.rglob("*.cpp"))]
            sketch = builder.compile(
                examples / "secure_ota" / "src" / "main.cpp", examples / "secure_ota" / "include", LIBRARY
            )
            sizes[what] = builder.size(sketch, *objects)
    print(f"{run(f'{PREFIX}g++', '--version').splitlines()[0]}, core at {options.core.resolve().name}")
    print(f"by hand (examples/secure_ota_by_hand): {hand.flash} bytes of flash, {hand.ram} of RAM")
    for what, size in sizes.items():
        more, ram = size.flash - hand.flash, size.ram - hand.ram
        print(f"with the library, {what}: {size.flash} bytes of flash, {size.ram} of RAM: {more:+} and {ram:+}")
    print(f"target: at most {TARGET_FLASH:+} and {TARGET_RAM:+}")
    print("beside that: heap while a poll runs as by hand; 1 KB more while an archive is checked; none in between")


if __name__ == "__main__":
    main()
