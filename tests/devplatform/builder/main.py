"""The builder of the development platform: nodes, targets and variables named and ordered as the real one has them."""

from __future__ import annotations

import re
import shutil
import sys
from functools import cache
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

FS_TARGETS = {"buildfs", "uploadfs", "uploadfsota"}
FILESYSTEMS = ("littlefs", "spiffs")
NETWORK_PORT = re.compile(r'"?((\d{1,3}\.){3}\d{1,3}|[^\\/]+\.local)"?$')
MIB = 1 << 20

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
filesystem = board.get("build.filesystem", "spiffs")
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
    if address < 0x40300000:
        return address & 0xFFFFF
    if address < 0x411FB000:
        return (address & 0xFFFFFF) - 0x200000
    return (address & 0xFFFFFF) + 0xE00000


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
    MKFSTOOL=f"mk{filesystem}",
    ESP8266_FS_IMAGE_NAME=env.get("ESP8266_FS_IMAGE_NAME", env.get("SPIFFSNAME", filesystem)),
    SIZEPROGREGEXP=r"^(?:\.irom0\.text|\.text|\.text1|\.data|\.rodata|)\s+([0-9]+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.rodata|\.bss)\s+([0-9]+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    ERASEFLAGS=["--chip", "esp8266", "--port", '"$UPLOAD_PORT"'],
    ERASETOOL=str(tools_dir / "esptool.py"),
    ERASECMD='"$PYTHONEXE" "$ERASETOOL" $ERASEFLAGS erase_flash',
    PROGSUFFIX=".elf",
)
if env.get("PROGNAME", "program") == "program":
    env.Replace(PROGNAME="firmware")

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

target_elf = None
if "nobuild" in requested:
    # The real platform finds no linker script here and gives up, unless a project names one by path.
    env["LDSCRIPT_PATH"] = board.get("build.ldscript", board.get("build.arduino.ldscript"))
    target_elf = "$BUILD_DIR/${PROGNAME}.elf"
    if {"uploadfs", "uploadfsota"} & requested:
        fetch_fs_size(env)
        target_firm = "$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"
    else:
        target_firm = "$BUILD_DIR/${PROGNAME}.bin"
else:
    target_elf = env.BuildProgram()
    if FS_TARGETS & requested:
        if filesystem not in FILESYSTEMS:
            sys.stderr.write(f"Filesystem {filesystem} is not supported!\n")
            env.Exit(1)
        target_firm = env.DataToBin("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}", "$PROJECT_DATA_DIR")
        env.NoCache(target_firm)
        AlwaysBuild(target_firm)
    else:
        target_firm = env.ElfToBin("$BUILD_DIR/${PROGNAME}", target_elf)
        env.Depends(target_firm, "checkprogsize")

env.AddPlatformTarget("buildfs", target_firm, target_firm, "Build Filesystem Image")
AlwaysBuild(env.Alias("nobuild", target_firm))
target_buildprog = env.Alias("buildprog", target_firm, target_firm)

if env.get("PIOMAINPROG"):
    env.AddPreAction("checkprogsize", env.VerboseAction(limit_program_size, "Retrieving maximum program size $SOURCE"))
elif {"checkprogsize", "upload"} & requested:
    limit_program_size(None, None, env)

target_size = env.AddPlatformTarget(
    "size",
    target_elf,
    env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE"),
    "Program Size",
    "Calculate program size",
)


# Upload: over the air, into a flash file in the place of a serial port, or by a command of the project's own.

upload_protocol = env.subst("$UPLOAD_PROTOCOL")
upload_actions = []
if upload_protocol != "espota" and NETWORK_PORT.match(env.get("UPLOAD_PORT", "")):
    upload_protocol = "espota"  # and $UPLOAD_PROTOCOL stays what it was
    sys.stderr.write("Warning! `upload_port` is a network address: this upload goes over the air (`espota`).\n")

if upload_protocol == "espota":
    if not env.subst("$UPLOAD_PORT"):
        sys.stderr.write("Error: over-the-air uploads need an address: set `upload_port` or use `--upload-port`\n")
    env.Replace(
        UPLOADER=str(tools_dir / "espota.py"),
        UPLOADERFLAGS=["--debug", "--progress", "-i", "$UPLOAD_PORT"],
        UPLOADCMD='"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS -f $SOURCE',
    )
    if "uploadfs" in requested:
        env.Append(UPLOADERFLAGS=["-s"])
    upload_actions = [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")]
elif upload_protocol == "esptool":
    serial_flags = ["--chip", "esp8266", "--port", '"$UPLOAD_PORT"', "--baud", "$UPLOAD_SPEED", "write_flash"]
    env.Replace(
        UPLOADER=str(tools_dir / "esptool.py"),
        UPLOADERFLAGS=serial_flags,
        UPLOADCMD='"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS 0x0 $SOURCE',
    )
    for address, image in env.get("FLASH_EXTRA_IMAGES", []):
        env.Append(UPLOADERFLAGS=[address, env.subst(image)])
    if "uploadfs" in requested:
        env.Replace(
            UPLOADERFLAGS=[*serial_flags, "$FS_START"],
            UPLOADCMD='"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS $SOURCE',
        )
    env.Prepend(UPLOADERFLAGS=reset_flags(env.subst("$UPLOAD_RESETMETHOD")))
    upload_actions = [
        env.VerboseAction(env.AutodetectUploadPort, "Looking for upload port..."),
        env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE"),
    ]
elif upload_protocol == "custom":
    upload_actions = [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")]
else:
    sys.stderr.write(f"Warning! Unknown upload protocol {upload_protocol}\n")

env.AddPlatformTarget("upload", target_firm, upload_actions, "Upload")
env.AddPlatformTarget("uploadfs", target_firm, upload_actions, "Upload Filesystem Image")
env.AddPlatformTarget("uploadfsota", target_firm, upload_actions, "Upload Filesystem Image OTA")
env.AddPlatformTarget(
    "erase",
    None,
    [
        env.VerboseAction(env.AutodetectUploadPort, "Looking for serial port..."),
        env.VerboseAction("$ERASECMD", "Erasing..."),
    ],
    "Erase Flash",
)

Default([target_buildprog, target_size])
