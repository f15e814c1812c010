"""What can write an update on an ESP32, in the firmware that was just linked, before its image is made.

There the OtaSeal library verifies updates: the core's own check is none to rely on (F77). Whatever else begins
an update takes anybody's, so it is named, and refused unless the project allows it. Not what is included or compiled
counts but what is linked: the objects' relocations tell which functions begin an update, the program which are in it
(F79).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import files
from ..errors import ConfigError
from ..settings import Settings
from . import after_scripts, build
from .object_code import ElfFile

BEGIN = re.compile(r"_ZN11UpdateClass5begin|esp_ota_begin$|esp_https_ota(?:_begin)?$|esp_rmaker_ota_enable")
"""The functions without which no update over the air begins: of the core, of ESP-IDF, of ESP RainMaker (F77)."""
BEGIN_NAMES = (b"_ZN11UpdateClass5begin", b"esp_ota_begin", b"esp_https_ota", b"esp_rmaker_ota_enable")
LIBRARY = "otaseal"
"""What PlatformIO calls the directory of the library's objects, in lower case."""
MAX_SIZE = 256 * 1024 * 1024
"""Bytes of an object or a program, with all its debug information."""
_NAME = re.compile(r"(?:ZL?|(N[KVRO]*))(?=\d)")
"""Where a name of its own begins, and whether that is one of a class or namespace."""
_LENGTH = re.compile(r"L?(\d+)")
ALLOW = "custom_otaseal_unverified_updates = allow"
NO_LIBRARY = "has no OtaSeal library, and on this chip nothing else verifies updates"
GUARANTEE = "otaseal: in this firmware the OtaSeal library alone writes updates, and verifies them"


def attach(env: build.Env, options: Settings) -> None:
    """Look into the program whenever the firmware's image is about to be made of it; a refusal leaves no image."""

    def declare(env: build.Env) -> None:
        firmware = build.firmware(env)
        if not firmware.has_builder():
            return
        executor = firmware.get_executor()
        look = build.action(env, lambda env: _look(env, firmware, options), "Looking for what writes updates")
        executor.set_action_list([look, *executor.action_list])
        env.Depends(firmware, env.Value(f"unverified updates: {options.unverified_updates}"))

    after_scripts.run(env, declare)


def _look(env: build.Env, firmware: Any, options: Settings) -> str | None:
    """Return the line for firmware that takes verified updates only; raises ConfigError for others, unless allowed."""
    image = Path(firmware.get_abspath())
    faults = []
    program = files.read_bounded(build.path(env, "$PROGPATH"), MAX_SIZE, "program")
    from ..image import manifest

    if manifest.identity(program) is None:
        faults.append(NO_LIBRARY)
    ways = sorted(updaters(build.path(env, "$BUILD_DIR"), ElfFile(program)))
    if ways:
        faults.append(f"takes updates that nothing verifies, by {', '.join(ways)}")
    if not faults:
        return GUARANTEE
    if options.unverified_updates == "allow":
        for fault in faults:
            build.warn(f"this firmware {fault}")
        return None
    for suffix in (build.SIGNED_SUFFIX, build.PACKED_SUFFIX):
        files.remove(image.with_name(image.name + suffix))
    instead = "use #include <OtaSeal.h> for updates, and nothing else" if ways else "use it: #include <OtaSeal.h>"
    raise ConfigError(f"this firmware {'; it '.join(faults)}", f"{instead}; or, if devices may take anything: {ALLOW}")


def updaters(directory: Path, program: ElfFile) -> Iterator[str]:
    """Yield what of `program`, whose objects lie below `directory`, begins updates without the library, by name.

    Raises ConfigError where the files do not tell: the program has no symbols, or its code was made by the linker.
    """
    linked = program.functions
    if not linked:
        raise ConfigError(
            "the program has no symbols, and what in it takes updates cannot be told",
            f"link it without -s or --strip-all; or {ALLOW}",
        )
    for path in sorted(directory.rglob("*.o")):
        place = path.relative_to(directory)
        if place.parts[0].startswith("lib") and place.parts[1].lower() == LIBRARY:
            continue
        content = files.read_bounded(path, MAX_SIZE, "object")
        if not any(name in content for name in BEGIN_NAMES):
            continue
        unit = ElfFile(content)
        if unit.is_bytecode:
            raise ConfigError(
                f"'{place}' is compiled for link-time optimization, and what in it takes updates cannot be told",
                f"build without -flto; or {ALLOW}",
            )
        source = Path(*place.parts[place.parts[0].startswith("lib") :]).with_suffix("")
        yield from (f"{readable(name)} ({source})" for name in unit.users(BEGIN) & linked)


def readable(name: str) -> str:
    """Return the qualified name of a C++ function without its arguments, for lambdas that of the function they are in.

    >>> readable("_ZNSt17_Function_handlerIFvvEZN16HTTPUpdateServer5setupEP9WebServerEUlvE_E9_M_invokeERKSt9_Any_data")
    'HTTPUpdateServer::setup'
    """
    found = _NAME.search(name)
    if found is None:
        return name
    parts, at = [], found.end()
    while (length := _LENGTH.match(name, at)) is not None:
        at = length.end() + int(length[1])
        parts.append(name[length.end() : at])
        if not found[1]:
            break
    return "::".join(part for part in parts if part != "_GLOBAL__N_1")
