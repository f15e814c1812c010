"""The Arduino framework of the development platform: the core's flags and nodes, compiled for the host.

The core is one static library of objects built with the project's environment, and the core's libraries are found
through LIBSOURCE_DIRS, as in the real one. Object code is position-dependent and linked without a build id, so that
the same sources give the same image.
"""

from __future__ import annotations

from pathlib import Path

from SCons.Script import Builder, DefaultEnvironment

CORE_RELEASE = "3.1.2"

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
framework_dir = Path(platform.get_package_dir("framework-arduinoespressif8266"))
core_dir = framework_dir / "cores" / board.get("build.core")
variant_dir = framework_dir / "variants" / board.get("build.variant")
elf2bin = Path(platform.get_dir(), "tools", "elf2bin.py")

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
    CPPPATH=[str(core_dir)],
    LIBSOURCE_DIRS=[str(framework_dir / "libraries")],
    BUILDERS={
        "ElfToBin": Builder(
            action=env.VerboseAction(
                " ".join(
                    [
                        '"$PYTHONEXE"',
                        f'"{elf2bin}"',
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

env.Append(CPPPATH=[str(variant_dir)])
env.Prepend(
    LIBS=[
        env.BuildLibrary("$BUILD_DIR/FrameworkArduinoVariant", str(variant_dir)),
        env.BuildLibrary("$BUILD_DIR/FrameworkArduino", str(core_dir)),
    ]
)
