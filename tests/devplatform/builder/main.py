"""The builder of the development platform: nodes, targets and variables named and ordered as the real one has them."""

from __future__ import annotations

import re
import shutil
import sys
from functools import cache
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

# End of a region where the chip maps its flash, the address bits that count in it, and where it begins in the flash.
OFFSETS = ((0x40300000, 0xFFFFF, 0), (0x411FB000, 0xFFFFFF, -0x200000), (1 << 32, 0xFFFFFF, 0xE00000))
FS_TARGETS = {"buildfs", "uploadfs", "uploadfsota"}
FILESYSTEMS = ("littlefs", "spiffs")
NETWORK_PORT = re.compile(r'"?((\d{1,3}\.){3}\d{1,3}|[^\\/]+\.local)"?$')
MIB = 1 << 20
SIZE = "$SIZETOOL"

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
fs_kind = board.get("build.filesystem", FILESYSTEMS[-1])
requested = set(COMMAND_LINE_TARGETS)
tools_dir = Path(platform.get_dir(), "tools")


# Geometry: everything about the flash is read from the chosen linker script.


@cache
def layout(script):
    """Return the sizes and addresses in the linker script at `script`, by name, with `flash` from the script's name."""
    assert script, "a board of the Arduino framework has a linker script"
    found = dict(re.findall(r"PROVIDE\s*\(\s*_(\w+)\s*=\s*(0x[0-9a-fA-F]+)\s*\)", Path(script).read_text("ascii")))
    sizes = {name.upper(): int(value, 16) for name, value in found.items()}
    amount, unit = re.search(r"\.flash\.(\d+)([mk])", Path(script).name).groups()
    sizes["FLASH"] = int(amount) * (MIB if unit == "m" else 1024)
    return sizes


def flash_offset(address):
    """Return the flash offset of a filesystem address of the linker script (the 0x405fb000 region and above wraps)."""
    for end, mask, shift in OFFSETS:
        if address < end:
            return (address & mask) + shift
    raise ValueError(f"no flash is mapped at 0x{address:x}")


def fetch_fs_size(env):
    sizes = layout(env.GetActualLDScript())
    env["FS_PAGE"], env["FS_BLOCK"] = sizes["FS_PAGE"], sizes["FS_BLOCK"]
    env["FS_START"], env["FS_END"] = flash_offset(sizes["FS_START"]), flash_offset(sizes["FS_END"])


def emit_fs_size(target, source, env):
    fetch_fs_size(env)
    return target, source


def flash_size(env):
    size = layout(env.GetActualLDScript())["FLASH"]
    return f"{size // MIB}M" if size >= MIB else f"{size // 1024}K"


def flash_frequency(env):
    return int(str(env.subst("$BOARD_F_FLASH")).replace("L", "")) // 1000000


def limit_program_size(target, source, env):
    env.BoardConfig().update("upload.maximum_size", layout(env.GetActualLDScript())["APP_SIZE"])


def host_tool(*names):
    """Return the first of `names` that the host has; the last one's absence is the compiler run's to report."""
    return next((name for name in names if shutil.which(name)), names[-1])


def reset_flags(method):
    before, after = {
        "nodemcu": ("default_reset", "hard_reset"),
        "ck": ("no_reset", "soft_reset"),
    }.get(method, ("no_reset_no_sync", "soft_reset"))
    return ["--before", before, "--after", after]


def section_sizes(*names):
    """Return the expression for the lines of `size` about these sections, the number of bytes its one group."""
    return r"^\.(?:" + "|".join(names) + r")\s+(\d+)\s"


def script(path):
    """Return the start of a command line that runs the Python program at `path`."""
    return f'"$PYTHONEXE" "{path}"'


env.Replace(
    __get_flash_size=flash_size,
    __get_board_f_flash=flash_frequency,
    AR=host_tool("ar"),
    AS=host_tool("as"),
    CC=host_tool("gcc", "cc"),
    CXX=host_tool("g++", "c++"),
    OBJCOPY=host_tool("objcopy"),
    RANLIB=host_tool("ranlib"),
    SIZETOOL=host_tool("size"),
    ARFLAGS=["rc"],
    MKFSTOOL=f"mk{fs_kind}",
    ESP8266_FS_IMAGE_NAME=env.get("ESP8266_FS_IMAGE_NAME") or env.get("SPIFFSNAME") or fs_kind,
    # What the host's linker names its sections, as `size` lists them: name, bytes, address.
    SIZEPROGREGEXP=section_sizes("text", "rodata", "data"),
    SIZEDATAREGEXP=section_sizes("data", "bss"),
    SIZECHECKCMD=f"{SIZE} --format=sysv --radix=10 $SOURCES",
    SIZEPRINTCMD=f"{SIZE} --format=berkeley --radix=10 $SOURCES",
    ERASEFLAGS=["--chip", "esp8266", "--port", '"$UPLOAD_PORT"'],
    ERASETOOL=str(tools_dir / "esptool.py"),
    ERASECMD=f"{script('$ERASETOOL')} $ERASEFLAGS erase_flash",
    PROGSUFFIX=".elf",
)
if env.subst("$PROGNAME") in ("", "program"):  # PlatformIO's own default, and no choice of the project
    env["PROGNAME"] = "firmware"

# The real tool is a program on the PATH, put there by its package; without the package there is no such program.
has_mkfs = platform.get_package_dir("tool-mklittlefs")
mkfs_command = f'"$PYTHONEXE" "{tools_dir}/${{MKFSTOOL}}.py"' if has_mkfs else '"$MKFSTOOL"'
env.Append(
    BUILDERS={
        "DataToBin": Builder(
            action=env.VerboseAction(
                f'{mkfs_command} -c $SOURCES -p $FS_PAGE -b $FS_BLOCK -s "${{FS_END - FS_START}}" $TARGET',
                "Building file system image from '$SOURCES' directory to $TARGET",
            ),
            emitter=emit_fs_size,
            source_factory=env.Dir,
            suffix=".bin",
        )
    }
)


# Firmware or filesystem image: one of the two is what all targets of this run are about.


def find_products():
    """Return program and image of a run that builds nothing: paths that may or may not exist."""
    # The real platform finds no linker script here and gives up, unless a project names one by path.
    env["LDSCRIPT_PATH"] = board.get("build.ldscript", board.get("build.arduino.ldscript"))
    name = "PROGNAME"
    if {"uploadfs", "uploadfsota"} & requested:
        fetch_fs_size(env)
        name = "ESP8266_FS_IMAGE_NAME"
    return "$BUILD_DIR/${PROGNAME}.elf", f"$BUILD_DIR/${{{name}}}.bin"


def declare_products():
    """Return the nodes of program and image of a run that builds."""
    program = env.BuildProgram()
    if not FS_TARGETS & requested:
        image = env.ElfToBin("$BUILD_DIR/${PROGNAME}", program)
        env.Depends(image, env.Alias("checkprogsize"))
        return program, image
    if fs_kind not in FILESYSTEMS:
        sys.stderr.write(f"Filesystem {fs_kind} is not supported!\n")
        env.Exit(1)
    image = env.DataToBin("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}", "$PROJECT_DATA_DIR")
    env.NoCache(image)
    return program, AlwaysBuild(image)


program, image = find_products() if "nobuild" in requested else declare_products()
env.AddPlatformTarget("buildfs", image, image, title="Build Filesystem Image")
AlwaysBuild(env.Alias("nobuild", [image]))
whole_build = env.Alias("buildprog", image, image)

if env.get("PIOMAINPROG"):
    env.AddPreAction("checkprogsize", env.VerboseAction(limit_program_size, "Retrieving maximum program size $SOURCE"))
elif {"checkprogsize", "upload"} & requested:
    limit_program_size(None, None, env)

show_size = env.VerboseAction("$SIZEPRINTCMD", "Calculating size of $SOURCE")
size = env.AddPlatformTarget("size", program, show_size, "Program Size", "Calculate program size")


# Upload: over the air, into a flash file in the place of a serial port, or by a command of the project's own.


def over_the_air():
    """Set the variables of an upload with espota; return its actions."""
    if not env.subst("$UPLOAD_PORT"):
        sys.stderr.write("Error: over-the-air uploads need an address: set `upload_port` or use `--upload-port`\n")
    filesystem = ["-s"] if {"uploadfs", "uploadfsota"} & requested else []
    env["UPLOADER"] = str(tools_dir / "espota.py")
    env["UPLOADERFLAGS"] = ["--debug", "--progress", "-i", "$UPLOAD_PORT", *filesystem]
    env["UPLOADCMD"] = f"{script('$UPLOADER')} $UPLOADERFLAGS -f $SOURCE"
    return [send]


def by_cable():
    """Set the variables of an upload with esptool, into the file that the port is; return its actions."""
    flags = ["--chip", "esp8266", "--port", '"$UPLOAD_PORT"', "--baud", "$UPLOAD_SPEED", "write_flash"]
    address = "0x0 "
    if "uploadfs" in requested:
        flags, address = [*flags, "$FS_START"], ""
    else:
        for place, extra in env.get("FLASH_EXTRA_IMAGES", []):
            flags += [place, env.subst(extra)]
    env["UPLOADER"] = str(tools_dir / "esptool.py")
    env["UPLOADERFLAGS"] = [*reset_flags(env.subst("$UPLOAD_RESETMETHOD")), *flags]
    env["UPLOADCMD"] = f"{script('$UPLOADER')} $UPLOADERFLAGS {address}$SOURCE"
    return [env.VerboseAction(env.AutodetectUploadPort, "Looking for upload port..."), send]


def unknown_protocol():
    sys.stderr.write(f"Warning! Unknown upload protocol {protocol}\n")
    return []


send = env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")
protocol = env.subst("$UPLOAD_PROTOCOL")
if protocol != "espota" and NETWORK_PORT.match(env.get("UPLOAD_PORT", "")):
    protocol = "espota"  # and $UPLOAD_PROTOCOL stays what it was
    sys.stderr.write("Warning! `upload_port` is a network address: this upload goes over the air (`espota`).\n")
ways = {"espota": over_the_air, "esptool": by_cable, "custom": lambda: [send]}
sending = ways.get(protocol, unknown_protocol)()

for name, title in (
    ("upload", "Upload"),
    ("uploadfs", "Upload Filesystem Image"),
    ("uploadfsota", "Upload Filesystem Image OTA"),
):
    env.AddPlatformTarget(name, image, sending, title)
erasing = [
    env.VerboseAction(env.AutodetectUploadPort, "Looking for the chip..."),
    env.VerboseAction("$ERASECMD", "Erasing..."),
]
env.AddPlatformTarget("erase", None, erasing, "Erase Flash")

Default([whole_build, size])
