"""The Arduino framework of the development platform: the core's flags and nodes, compiled for the host.

The core is one static library of objects built with the project's environment, and the core's libraries are found
through LIBSOURCE_DIRS, as in the real one. Object code is position-dependent and linked without a build id, so that
the same sources give the same image.
"""

from __future__ import annotations

import os

from SCons.Script import Builder, DefaultEnvironment

CORE_RELEASE = "3.1.2"

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
framework_dir = platform.get_package_dir("framework-arduinoespressif8266")
assert framework_dir and os.path.isdir(framework_dir), framework_dir
tools_dir = os.path.join(platform.get_dir(), "tools")

env.Append(
    CFLAGS=["-std=gnu17"],
    CCFLAGS=["-Os", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-Wall", "-Werror=return-type"],
    CXXFLAGS=["-fno-rtti", "-fno-exceptions", "-std=gnu++17"],
    LINKFLAGS=["-Os", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"],
    CPPDEFINES=[
        ("F_CPU", "$BOARD_F_CPU"),
        "__ets__",
        "ICACHE_FLASH",
        "_GNU_SOURCE",
        ("ARDUINO", 10805),
        ("ARDUINO_BOARD", rf"\"PLATFORMIO_{board.id.upper()}\""),
        ("ARDUINO_BOARD_ID", rf"\"{board.id}\""),
        "FLASHMODE_${BOARD_FLASH_MODE.upper()}",
        "LWIP_OPEN_SRC",
    ],
    CPPPATH=[os.path.join(framework_dir, "cores", board.get("build.core"))],
    LIBSOURCE_DIRS=[os.path.join(framework_dir, "libraries")],
    BUILDERS={
        "ElfToBin": Builder(
            action=env.VerboseAction(
                " ".join(
                    [
                        '"$PYTHONEXE"',
                        f'"{os.path.join(tools_dir, "elf2bin.py")}"',
                        "--app $SOURCE",
                        "--flash_mode $BOARD_FLASH_MODE",
                        "--flash_freq ${__get_board_f_flash(__env__)}",
                        "--flash_size ${__get_flash_size(__env__)}",
                        f"--core {board.get('build.core_release', CORE_RELEASE)}",
                        "--out $TARGET",
                        "--gzip PIO" if board.get("build.gzip_fw", False) else "",
                    ]
                ),
                "Building $TARGET",
            ),
            suffix=".bin",
        )
    },
)

if not board.get("build.ldscript", ""):
    env.Replace(LDSCRIPT_PATH=board.get("build.arduino.ldscript", ""))

variant_dir = os.path.join(framework_dir, "variants", board.get("build.variant"))
env.Append(CPPPATH=[variant_dir])
env.Prepend(
    LIBS=[
        env.BuildLibrary(os.path.join("$BUILD_DIR", "FrameworkArduinoVariant"), variant_dir),
        env.BuildLibrary(
            os.path.join("$BUILD_DIR", "FrameworkArduino"),
            os.path.join(framework_dir, "cores", board.get("build.core")),
        ),
    ]
)
