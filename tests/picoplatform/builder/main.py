"""The builder of the development platform: nodes, targets and variables named and ordered as the real one has them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

XIP_BASE = 0x10000000
EEPROM_SIZE = 4096
UNITS = {"": 1, "B": 1, "K": 1 << 10, "KB": 1 << 10, "M": 1 << 20, "MB": 1 << 20}
FS_TARGETS = {"buildfs", "uploadfs"}

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
requested = set(COMMAND_LINE_TARGETS)
tools_dir = Path(platform.get_dir(), "tools")
shared_tools_dir = Path(platform.get_dir()).parent / "devplatform" / "tools"
framework_tools_dir = Path(platform.get_package_dir("framework-arduinopico") or "", "tools")
flash_size = board.get("upload.maximum_size")  # before the builder lowers it to what a sketch may have


# Geometry: all of it follows from the size of the flash and the option board_build.filesystem_size.


def size_of(text):
    """Return the number of bytes in a size such as 0.5MB; 0, with a line that says so, for what is none."""
    found = re.match(r"(\d*\.?\d+)([a-zA-Z]*)$", text)
    if found is None or found[2].upper() not in UNITS:
        sys.stderr.write(f"Error: Could not parse filesystem size expression '{text}'. Will treat as size = 0.\n")
        return 0
    return int(float(found[1]) * UNITS[found[2].upper()])


def fetch_fs_size(env):
    filesystem = size_of(board.get("build.filesystem_size", "0MB"))
    sketch = flash_size - EEPROM_SIZE - filesystem
    if sketch <= 0:
        sys.stderr.write(f"Error: Filesystem too large for given flash: {sketch} bytes are left for the sketch\n")
        env.Exit(1)
    end = XIP_BASE + flash_size - EEPROM_SIZE
    env["PICO_FLASH_LENGTH"], env["PICO_EEPROM_START"] = sketch, end
    env["FS_START"], env["FS_END"] = end - filesystem, end
    env["FS_PAGE"], env["FS_BLOCK"] = 256, 4096
    print(f"Maximum Sketch size: {sketch} Filesystem start: {env['FS_START']:#x} Filesystem end: {end:#x}")


def emit_fs_size(target, source, env):
    fetch_fs_size(env)
    return target, source


def limit_program_size(target, source, env):
    fetch_fs_size(env)
    env.BoardConfig().update("upload.maximum_size", env["PICO_FLASH_LENGTH"])


def host_tool(*names):
    """Return the first of `names` that the host has; the last one's absence is the compiler run's to report."""
    return next((name for name in names if shutil.which(name)), names[-1])


def section_sizes(*names):
    """Return the expression for the lines of `size` about these sections, the number of bytes its one group."""
    return r"^\.(?:" + "|".join(names) + r")\s+(\d+)\s"


def script(path):
    """Return the start of a command line that runs the Python program at `path`."""
    return f'"$PYTHONEXE" "{path}"'


env.Replace(
    __fetch_fs_size=fetch_fs_size,
    AR=host_tool("ar"),
    AS=host_tool("as"),
    CC=host_tool("gcc", "cc"),
    CXX=host_tool("g++", "c++"),
    OBJCOPY=str(tools_dir / "picoimage.py"),
    RANLIB=host_tool("ranlib"),
    SIZETOOL=host_tool("size"),
    ARFLAGS=["rc"],
    MKFSTOOL="mklittlefs",
    PICO_FS_IMAGE_NAME=env.get("PICO_FS_IMAGE_NAME", "littlefs"),
    SIZEPROGREGEXP=section_sizes("text", "rodata", "data"),
    SIZEDATAREGEXP=section_sizes("data", "bss"),
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    PROGSUFFIX=".elf",
)
if env.get("PROGNAME", "program") == "program":  # PlatformIO's own default, and no choice of the project
    env.Replace(PROGNAME="firmware")

# The real tool is a program on the PATH, put there by its package; without the package there is no such program.
has_mkfs = platform.get_package_dir("tool-mklittlefs-rp2040-earlephilhower")
mkfs_command = script(shared_tools_dir / "${MKFSTOOL}.py") if has_mkfs else '"$MKFSTOOL"'
private_key, public_key = (f"$PROJECT_SRC_DIR/{name}.key" for name in ("private", "public"))
sign_command = f'--mode sign --privatekey "{private_key}" --bin $SOURCES --out $TARGET'
env.Append(
    BUILDERS={
        "ElfToBin": Builder(
            action=env.VerboseAction(f"{script('$OBJCOPY')} -O binary $SOURCES $TARGET", "Building $TARGET"),
            suffix=".bin",
        ),
        "BinToSignedBin": Builder(
            action=env.VerboseAction(
                f"{script(framework_tools_dir / 'signing.py')} {sign_command}",
                "Building $TARGET",
            ),
            suffix=".bin.signed",
        ),
        "DataToBin": Builder(
            action=env.VerboseAction(
                f'{mkfs_command} -c $SOURCES -p $FS_PAGE -b $FS_BLOCK -s "${{FS_END - FS_START}}" $TARGET',
                "Building file system image from '$SOURCES' directory to $TARGET",
            ),
            emitter=emit_fs_size,
            source_factory=env.Dir,
            suffix=".bin",
        ),
    }
)

# A public key among the sources becomes a header of its own, which comes before every other one.
if Path(env.subst(public_key)).is_file():
    env.Prepend(CCFLAGS=['-I"$BUILD_DIR/core"'])
    signing = script(framework_tools_dir / "signing.py")
    env.Execute(f'{signing} --mode header --publickey "{public_key}" --out "$BUILD_DIR/core/Updater_Signing.h"')


# Firmware or filesystem image: one of the two is what all targets of this run are about.

signed = None
if "nobuild" in requested:
    program, image = "$BUILD_DIR/${PROGNAME}.elf", "$BUILD_DIR/${PROGNAME}.bin.signed"
else:
    program = env.BuildProgram()
    if FS_TARGETS & requested:
        image = env.DataToBin("$BUILD_DIR/${PICO_FS_IMAGE_NAME}", "$PROJECT_DATA_DIR")
        AlwaysBuild(image)
    else:
        image = env.ElfToBin("$BUILD_DIR/${PROGNAME}", program)
        signed = env.BinToSignedBin("$BUILD_DIR/${PROGNAME}", image)
        env.Depends([image, signed], "checkprogsize")

env.AddPlatformTarget("buildfs", image, image, "Build Filesystem Image")
AlwaysBuild(env.Alias("nobuild", image))
whole_build = env.Alias("buildprog", [image, signed], image)

to_uf2 = env.VerboseAction(
    f'"{tools_dir / "picotool"}" uf2 convert -t elf $TARGET ${{TARGET.base}}.uf2', "Generating UF2 image"
)
env.AddPostAction(program, to_uf2)
if env.get("PIOMAINPROG"):
    env.AddPreAction("checkprogsize", env.VerboseAction(limit_program_size, "Retrieving maximum program size $SOURCE"))
size = env.Alias("size", program, env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE"))
AlwaysBuild(size)


# Upload: the program into a chip in BOOTSEL mode, over the air, onto a disk, or by a command of the project's own.


def enter_bootsel(target, source, env):
    """Look for a device, and where none waits have it restart, as opening its serial port with 1200 baud does."""
    picotool = str(tools_dir / "picotool")
    if b"type:" in subprocess.run([picotool, "info", "-d"], check=False, capture_output=True).stdout:
        print("A device is in BOOTSEL mode already")
        return
    env.AutodetectUploadPort()
    subprocess.run([picotool, "reboot", "-f", "-u"], check=False)


def into_bootsel():
    env.Replace(
        UPLOADER=str(tools_dir / "picotool"),
        UPLOADERFLAGS=["-v", "-x"],
        UPLOADCMD='"$UPLOADER" load $UPLOADERFLAGS $SOURCES',
    )
    looking = env.VerboseAction(enter_bootsel, "Looking for upload port...")
    if "uploadfs" not in requested:
        return program, [looking, send]
    env.Replace(
        UPLOADERFLAGS=["load", "--verify"],
        UPLOADCMD='"$UPLOADER" $UPLOADERFLAGS $SOURCES --offset ${hex(FS_START)}',
    )
    return program, [looking, send, env.VerboseAction(f'"{tools_dir / "picotool"}" reboot', "Rebooting device...")]


def over_the_air():
    filesystem = ["-s"] if "uploadfs" in requested else []
    env.Replace(
        UPLOADER=str(shared_tools_dir / "espota.py"),
        UPLOADERFLAGS=["--debug", "--progress", "-i", "$UPLOAD_PORT", "-p", "2040", *filesystem],
        UPLOADCMD=f"{script('$UPLOADER')} $UPLOADERFLAGS -f $SOURCE",
    )
    with_key = not filesystem and Path(env.subst(private_key)).is_file()
    return signed if with_key else image, [send]


def onto_disk():
    def copy(target, source, env):  # the UF2 in every case, that of the filesystem too
        shutil.copy(env.subst("$BUILD_DIR/${PROGNAME}.uf2"), env.subst("$UPLOAD_PORT"))

    return image, [env.VerboseAction(copy, "Uploading $SOURCE")]


send = env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")
ways = {"picotool": into_bootsel, "espota": over_the_air, "mbed": onto_disk, "custom": lambda: (image, [send])}
source, sending = ways[env.subst("$UPLOAD_PROTOCOL") or "picotool"]()
AlwaysBuild(env.Alias("upload", source, sending))
env.AddPlatformTarget("uploadfs", image, sending, "Upload Filesystem Image")

Default([whole_build, size])
