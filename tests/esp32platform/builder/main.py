"""The builder of the development platform: nodes, targets and variables named and ordered as the real ones have them.

Two builders in one: with `board_build.builder = pioarduino` it does as pioarduino's does, else as the official one.
Where both do a thing alike it stands here once.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

FS_TARGETS = {"buildfs", "uploadfs", "uploadfsota"}
FS_SUBTYPES = ("spiffs", "fat", "littlefs")
NETWORK_PORT = re.compile(r'"?((\d{1,3}\.){3}\d{1,3}|[^\\/]+\.local)"?$')

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
pioarduino = board.get("build.builder", "") == "pioarduino"
chip = board.get("build.mcu", "esp32")
filesystem = board.get("build.filesystem", "littlefs" if pioarduino else "spiffs")
requested = set(COMMAND_LINE_TARGETS)
tools_dir = Path(platform.get_dir(), "tools")
shared_tools_dir = Path(platform.get_dir()).parent / "devplatform" / "tools"
env.setdefault("INTEGRATION_EXTRA_DATA", {})


# Geometry: all of it is in the partition table that the project chose.


def size_of(value):
    """Return the bytes of a number in the table: decimal, hexadecimal, or with K or M behind it."""
    text = str(value)
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1].upper(), 0)
    return int(text[:-1]) * unit if unit else int(text, 0)


def parse_partitions(env):
    """Return the rows of the table as name, type, subtype, offset and size, with the offsets that it leaves out."""
    name = env.subst("$PARTITIONS_TABLE_CSV")
    table = Path(name)
    if not table.is_file():  # with `nobuild` there is none, and so no way to the filesystem
        sys.stderr.write(f"Could not find the file {name} with partitions table.\n")
        env.Exit(1)
    rows, end = [], 0 if pioarduino else 0x9000
    for line in table.read_text("utf-8").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if line.strip().startswith("#") or len(fields) < 5:
            continue
        bound = 0x10000 if fields[1] in ("0", "app") else 4
        start = size_of(fields[3]) if fields[3] else -(-end // bound) * bound
        end = start + size_of(fields[4])
        rows.append((*fields[:3], start, end - start))
    if pioarduino:
        place = next((hex(start) for _, _, subtype, start, _ in rows if subtype == "ota_0"), "0x10000")
        env.Replace(ESP32_APP_OFFSET=place)
        env["INTEGRATION_EXTRA_DATA"]["application_offset"] = place
    return rows


def limit_program_size(target, source, env):
    slots = ("ota_0",) if pioarduino else ("factory", "ota_0")
    for _, kind, subtype, _, size in parse_partitions(env):
        if kind in ("0", "app") and subtype in slots:
            board.update("upload.maximum_size", size)
            return


def fetch_fs_size(env):
    rows = [row for row in parse_partitions(env) if row[1] == "data" and row[2] in FS_SUBTYPES]
    if not rows:
        table = env.subst("$PARTITIONS_TABLE_CSV")
        sys.stderr.write(f"Could not find the any filesystem section in the partitions table {table}\n")
        env.Exit(1)
    skipped = 4096 if filesystem == "fatfs" and not pioarduino else 0
    env["FS_START"], env["FS_SIZE"] = rows[-1][3] + skipped, rows[-1][4] - skipped
    env["FS_PAGE"], env["FS_BLOCK"] = 0x100, 0x1000


def emit_fs_size(target, source, env):
    fetch_fs_size(env)
    return target, source


def host_tool(*names):
    """Return the first of `names` that the host has; the last one's absence is the compiler run's to report."""
    return next((name for name in names if shutil.which(name)), names[-1])


def section_sizes(*names):
    """Return the expression for the lines of `size` about these sections, the number of bytes its one group."""
    return r"^\.(?:" + "|".join(names) + r")\s+(\d+)\s"


def own_python():
    """Make pioarduino's interpreter, which the whole build changes to, beside PlatformIO's packages; return it."""
    python = Path(env.GetProjectConfig().get("platformio", "core_dir"), "penv", "bin", "python")
    if not python.exists():
        python.parent.mkdir(parents=True, exist_ok=True)
        new = python.with_name(f"python.{os.getpid()}")
        new.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        new.chmod(new.stat().st_mode | stat.S_IXUSR)
        new.replace(python)
    return str(python)


# The tools: a script that PlatformIO's Python runs, with words joined by "_"; or a program, with words joined by "-".

esptool = tools_dir / ("esptool" if pioarduino else "esptool.py")
if pioarduino:
    env.Replace(PYTHONEXE=own_python())
    run_esptool = f'"{esptool}"' if " " in str(esptool) else str(esptool)
else:
    run_esptool = '"$PYTHONEXE" "$OBJCOPY"'


def words(text):
    return text.replace("_", "-") if pioarduino else text


def frequency(env):
    return f"{int(str(env.subst('$BOARD_F_FLASH')).replace('L', '')) // 1000000}m"


def flash_mode(env):
    mode = env.subst("$BOARD_FLASH_MODE")
    return "dio" if mode in ("qio", "qout") else mode


env.Replace(
    __get_board_flash_mode=flash_mode,
    __get_board_f_image=frequency,
    AR=host_tool("ar"),
    AS=host_tool("as"),
    CC=host_tool("gcc", "cc"),
    CXX=host_tool("g++", "c++"),
    OBJCOPY=run_esptool if pioarduino else str(esptool),
    RANLIB=host_tool("ranlib"),
    SIZETOOL=host_tool("size"),
    ARFLAGS=["rc"],
    SIZEPROGREGEXP=section_sizes("text", "rodata", "data"),
    SIZEDATAREGEXP=section_sizes("data", "bss"),
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
    ERASEFLAGS=["--chip", chip, "--port", '"$UPLOAD_PORT"'],
    ERASECMD=f"{run_esptool} $ERASEFLAGS {words('erase_flash')}",
    ESP32_FS_IMAGE_NAME=env.get("ESP32_FS_IMAGE_NAME", env.get("ESP32_SPIFFS_IMAGE_NAME", filesystem)),
    ESP32_APP_OFFSET=None if pioarduino else board.get("upload.offset_address", "0x10000"),
    PROGSUFFIX=".elf",
)
if pioarduino:
    # Objects of libraries are linked by themselves, so that weak functions of theirs count.
    env.GetProjectConfig().set(f"env:{env['PIOENV']}", "lib_archive", "False")
else:
    # The real tools are programs on the PATH, put there by their packages.
    env.Replace(MKFSTOOL=f"mk{filesystem}" + ("_${PIOPLATFORM}_${PIOFRAMEWORK}" if filesystem == "spiffs" else ""))
if env.get("PROGNAME", "program") == "program":  # PlatformIO's own default, and no choice of the project
    env.Replace(PROGNAME="firmware")

image_options = [
    words("--flash_mode"),
    "${__get_board_flash_mode(__env__)}",
    words("--flash_freq"),
    "${__get_board_f_image(__env__)}",
    words("--flash_size"),
]


def filesystem_action():
    """Return the action that makes a filesystem: a program's run, or with pioarduino a function that does it."""
    name = f"mk{filesystem}"
    folder = tools_dir if filesystem == "fatfs" else shared_tools_dir
    run_tool = f'"$PYTHONEXE" "{folder / name}.py"'
    if filesystem == "spiffs":
        run_tool += " --esp32"
    if filesystem == "fatfs" and pioarduino:
        run_tool += " --wear-levelling"
    title = "Building FS image from '$SOURCES' directory to $TARGET"
    if not pioarduino:
        if not platform.get_package_dir(f"tool-{name}"):
            run_tool = '"$MKFSTOOL"'
        return env.VerboseAction(f"{run_tool} -c $SOURCES -s $FS_SIZE -p $FS_PAGE -b $FS_BLOCK $TARGET", title)

    def make(target, source, env):
        sizes = "-s $FS_SIZE -p $FS_PAGE -b $FS_BLOCK"
        version = f" --disk-version {board.get('build.littlefs_version', '2.1')}" if filesystem == "littlefs" else ""
        command = f'{run_tool} -c "{source[0]}" {sizes}{version} "{target[0]}"'
        return subprocess.run(env.subst(command), shell=True, check=False).returncode

    return env.VerboseAction(make, title)


quote = '"{}"'.format if pioarduino else "{}".format
env.Append(
    BUILDERS={
        "ElfToBin": Builder(
            action=env.VerboseAction(
                " ".join(
                    [
                        run_esptool,
                        f"--chip {chip} elf2image",
                        *image_options,
                        board.get("upload.flash_size", "4MB"),
                        f"-o {quote('$TARGET')} {quote('$SOURCES')}",
                    ]
                ),
                "Building $TARGET",
            ),
            suffix=".bin",
        ),
        "DataToBin": Builder(action=filesystem_action(), emitter=emit_fs_size, source_factory=env.Dir, suffix=".bin"),
    }
)


def combine(target, source, env):
    """Make the image of a whole flash, which pioarduino's builder puts beside every firmware."""
    parts = [*env.get("FLASH_EXTRA_IMAGES", []), (env.subst("$ESP32_APP_OFFSET") or "0x10000", str(target[0]))]
    places = [env.subst(str(part)) for pair in parts for part in pair]
    command = [
        str(esptool),
        "--chip",
        chip,
        "merge-bin",
        "-o",
        env.subst("$BUILD_DIR/${PROGNAME}.factory.bin"),
        *places,
    ]
    subprocess.run(command, check=False)


# Firmware or filesystem image: one of the two is what all targets of this run are about.

if "nobuild" in requested:
    program, image = "$BUILD_DIR/${PROGNAME}.elf", "$BUILD_DIR/${PROGNAME}.bin"
    if {"uploadfs", "uploadfsota"} & requested:
        fetch_fs_size(env)
        if pioarduino:  # the official one forgets which of the two it is
            image = "$BUILD_DIR/${ESP32_FS_IMAGE_NAME}.bin"
else:
    program = env.BuildProgram()
    if FS_TARGETS & requested:
        image = env.DataToBin("$BUILD_DIR/${ESP32_FS_IMAGE_NAME}", "$PROJECT_DATA_DIR")
        env.NoCache(image)
        AlwaysBuild(image)
    else:
        image = env.ElfToBin("$BUILD_DIR/${PROGNAME}", program)
        env.Depends(image, "checkprogsize")
        if pioarduino:
            env.AddPostAction(image, env.Action(combine, None))

env.AddPlatformTarget("buildfs", image, image, "Build Filesystem Image")
AlwaysBuild(env.Alias("nobuild", image))
whole_build = env.Alias("buildprog", image, image)
if env.get("PIOMAINPROG"):
    env.AddPreAction("checkprogsize", env.VerboseAction(limit_program_size, "Retrieving maximum program size $SOURCES"))
elif not pioarduino and {"checkprogsize", "upload"} & requested:
    limit_program_size(None, None, env)
size = env.AddPlatformTarget(
    "size", program, env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE"), "Program Size", "Calculate size"
)


# Upload: over the air, by cable into the file that the port is, or by a command of the project's own.


def over_the_air():
    filesystem_flag = ["--spiffs"] if {"uploadfs", "uploadfsota"} & requested else []
    env.Replace(
        UPLOADER=str(tools_dir / "espota.py"),
        UPLOADERFLAGS=["--debug", "--progress", "-i", "$UPLOAD_PORT", *filesystem_flag],
        UPLOADCMD='"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS -f $SOURCE',
    )
    return [send]


def by_cable():
    size = "detect" if pioarduino else board.get("upload.flash_size", "detect")
    flags = ["--chip", chip, "--port", '"$UPLOAD_PORT"', "--baud", "$UPLOAD_SPEED"]
    flags += ["--before", words("default_reset"), "--after", words("hard_reset"), words("write_flash"), "-z"]
    flags += [*image_options, size]
    place = "$ESP32_APP_OFFSET "
    if "uploadfs" in requested:
        flags, place = [*flags, "$FS_START"], ""
    else:
        for offset, extra in env.get("FLASH_EXTRA_IMAGES", []):
            flags += [offset, env.subst(extra)]
    run_uploader = "$UPLOADER" if pioarduino else '"$PYTHONEXE" "$UPLOADER"'
    env.Replace(
        UPLOADER=run_esptool if pioarduino else str(esptool),
        UPLOADERFLAGS=flags,
        UPLOADCMD=f"{run_uploader} $UPLOADERFLAGS {place}$SOURCE",
    )
    return [look_for_port, send]


def unknown_protocol():
    sys.stderr.write(f"Warning! Unknown upload protocol {protocol}\n")
    return []


look_for_port = env.VerboseAction(env.AutodetectUploadPort, "Looking for upload port...")
send = env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")
protocol = env.subst("$UPLOAD_PROTOCOL") or "esptool"
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
erasing = [look_for_port, env.VerboseAction("$ERASECMD", "Erasing...")]
if pioarduino:
    env.AddPlatformTarget("erase_upload", image, [*erasing, send], "Erase Flash and Upload")
env.AddPlatformTarget("erase", None, erasing, "Erase Flash")

Default([whole_build, size])
