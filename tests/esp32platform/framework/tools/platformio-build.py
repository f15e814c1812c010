"""The core's builder script: flags and nodes, compiled for the host, and what lies in flash before the firmware.

As in the real core the partition table is made of the project's text, the boot loader of an ELF, and both before the
program is linked; `FLASH_EXTRA_IMAGES` says where they go.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

from SCons.Script import DefaultEnvironment

FIRST_SLOT = b"\x01\0\0\0".ljust(28, b"\xff") + b"\x9a\x98\x43\x47"
"""What the core's boot_app0.bin begins with, an order to start the first slot; two erased sectors follow."""

env = DefaultEnvironment()
board = env.BoardConfig()
chip = board.get("build.mcu")
framework_dir = Path(env.PioPlatform().get_package_dir("framework-arduinoespressif32"))
core_dir = framework_dir / "cores" / "esp32"
variant_dir = framework_dir / "variants" / board.get("build.variant")
partitions_dir = framework_dir / "tools" / "partitions"

env.Append(
    CFLAGS=["-std=gnu17"],
    CCFLAGS=["-Os", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-Wall", "-Werror=return-type"],
    CXXFLAGS=["-std=gnu++17", "-fno-exceptions", "-fno-rtti"],
    LINKFLAGS=["-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"],
    CPPDEFINES=[
        "ESP32",
        "ESP_PLATFORM",
        "_GNU_SOURCE",
        ("F_CPU", "$BOARD_F_CPU"),
        ("ARDUINO", 10812),
        "ARDUINO_ARCH_ESP32",
        ("ARDUINO_BOARD", rf"\"{board.id}\""),
    ],
    CPPPATH=[str(core_dir), str(variant_dir)],
    LIBSOURCE_DIRS=[str(framework_dir / "libraries")],
    FLASH_EXTRA_IMAGES=[
        ("0x1000" if chip == "esp32" else "0x0000", "$BUILD_DIR/bootloader.bin"),
        ("0x8000", str(Path(env.subst("$BUILD_DIR"), "partitions.bin"))),
        ("0xe000", "$BUILD_DIR/boot_app0.bin"),
    ],
)
env.Prepend(LIBS=[env.BuildLibrary("$BUILD_DIR/FrameworkArduino", str(core_dir))])


def start_first_slot(target, source, env):
    Path(target[0].get_abspath()).write_bytes(FIRST_SLOT.ljust(0x2000, b"\xff"))


first_slot = env.Command("$BUILD_DIR/boot_app0.bin", [], env.VerboseAction(start_first_slot, "Generating $TARGET"))
chosen = board.get("build.partitions", board.get("build.arduino.partitions", "default.csv"))
own = partitions_dir / chosen
env.Replace(PARTITIONS_TABLE_CSV=str(own if own.is_file() else Path(chosen).absolute()))
table = env.Command(
    "$BUILD_DIR/partitions.bin",
    "$PARTITIONS_TABLE_CSV",
    env.VerboseAction(
        f'"$PYTHONEXE" "{framework_dir / "tools" / "gen_esp32part.py"}" -q $SOURCE $TARGET',
        "Generating partitions $TARGET",
    ),
)
elf2image = env["BUILDERS"]["ElfToBin"].action
boot_loader = env.Command("$BUILD_DIR/bootloader.bin", str(framework_dir / "tools" / "bootloader.txt"), elf2image)
env.Depends("$BUILD_DIR/$PROGNAME$PROGSUFFIX", [table, boot_loader, first_slot])

with_digest = copy(elf2image)
with_digest.cmd_list = elf2image.cmd_list.replace("-o", "--elf-sha256-offset 0xb0 -o")
env["BUILDERS"]["ElfToBin"].action = with_digest
