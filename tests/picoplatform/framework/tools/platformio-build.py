"""The Arduino framework of the development platform: the core's flags and nodes, compiled for the host.

As in the real core, the linker script is made in the build directory, from the chip's own and the sizes that the
platform's builder worked out; updater and verifier are libraries, which are found through LIBSOURCE_DIRS.
"""

from __future__ import annotations

from pathlib import Path

from SCons.Script import DefaultEnvironment

WIRING = "-<*> +<core_esp8266_wiring.cpp>"

env = DefaultEnvironment()
board = env.BoardConfig()
chip = board.get("build.mcu")
framework_dir = Path(env.PioPlatform().get_package_dir("framework-arduinopico"))
core_dir = framework_dir / "cores" / "rp2040"
variant_dir = framework_dir / "variants" / board.get("build.variant")
shared_dir = framework_dir.parents[1] / "devplatform" / "framework" / "cores" / "esp8266"


def fill_in_sizes(target, source, env):
    text = Path(source[0].get_abspath()).read_text("ascii")
    for name in ("FS_START", "FS_END"):
        text = text.replace(f"__{name}__", str(env[name]))
    text = text.replace("__EEPROM_START__", str(env["PICO_EEPROM_START"]))
    Path(target[0].get_abspath()).write_text(text.replace("__FLASH_LENGTH__", str(env["PICO_FLASH_LENGTH"])), "ascii")


env.Append(
    CFLAGS=["-std=gnu17"],
    CCFLAGS=["-Os", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-Wall", "-Werror=return-type"],
    CXXFLAGS=["-std=gnu++17", "-fno-exceptions", "-fno-rtti"],
    LINKFLAGS=["-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"],
    CPPDEFINES=[
        ("ARDUINO", 10810),
        "ARDUINO_ARCH_RP2040",
        "_GNU_SOURCE",
        ("F_CPU", "$BOARD_F_CPU"),
        ("BOARD_NAME", rf"\"{board.id}\""),
        ("PICO_FLASH_SIZE_BYTES", board.get("upload.maximum_size")),
        ("FS_START", "$FS_START"),
        ("FS_END", "$FS_END"),
    ],
    CPPPATH=[str(core_dir), str(variant_dir)],
    LIBSOURCE_DIRS=[str(framework_dir / "libraries")],
)

env["__fetch_fs_size"](env)
script = env.Command(
    "$BUILD_DIR/memmap_default.ld",
    str(framework_dir / "lib" / chip / "memmap_default.ld"),
    env.VerboseAction(fill_in_sizes, "Generating linkerscript $BUILD_DIR/memmap_default.ld"),
)
env.Depends(script, env.Value(f"{env['FS_START']} {env['FS_END']} {env['PICO_FLASH_LENGTH']}"))
env.Depends("$BUILD_DIR/${PROGNAME}.elf", script)
env.Replace(LDSCRIPT_PATH="$BUILD_DIR/memmap_default.ld")

env.Prepend(
    LIBS=[
        env.BuildLibrary("$BUILD_DIR/FrameworkArduino", str(core_dir)),
        env.BuildLibrary("$BUILD_DIR/FrameworkArduinoWiring", str(shared_dir), WIRING),
    ]
)
