"""What PlatformIO knows of the options that otaseal reads, as PlatformIO 6.1 and 6.2 have them.

Which are lists, which have other names, which a variable replaces, and what they are by default. Any other option is
plain text. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FOLDER = "<the name of the project's folder>"
"""The default of the project's name."""


@dataclass(frozen=True)
class KnownOption:
    """An option and its `old` names; unless `variable` is False, PLATFORMIO_<NAME> replaces it, or adds to a list."""

    name: str
    default: str | None = None
    old: tuple[str, ...] = ()
    multiple: bool = False
    variable: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it can have in a file."""
        return (self.name, *self.old)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that replace it, of which the first that is set counts."""
        return tuple(f"PLATFORMIO_{name.upper()}" for name in self.names) if self.variable else ()

    @property
    def directory(self) -> bool:
        """Whether it is a path, which starts at the project."""
        return self.name.endswith("_dir")


_IN_CORE = {"globallib": "lib", "platforms": "platforms", "packages": "packages", "cache": ".cache"}
_IN_PROJECT = ("include", "src", "lib", "data", "test", "boards", "monitor", "shared")
_OPTIONS: Mapping[str, tuple[KnownOption, ...]] = {
    "platformio": (
        KnownOption("name", FOLDER, variable=False),
        KnownOption("default_envs", old=("env_default",), multiple=True),
        KnownOption("extra_configs", multiple=True, variable=False),
        KnownOption("core_dir", "~/.platformio", old=("home_dir",)),
        *(KnownOption(f"{stem}_dir", f"${{platformio.core_dir}}/{folder}") for stem, folder in _IN_CORE.items()),
        KnownOption("build_cache_dir"),
        KnownOption("workspace_dir", "${PROJECT_DIR}/.pio"),
        KnownOption("build_dir", "${platformio.workspace_dir}/build"),
        KnownOption("libdeps_dir", "${platformio.workspace_dir}/libdeps"),
        *(KnownOption(f"{stem}_dir", f"${{PROJECT_DIR}}/{stem}") for stem in _IN_PROJECT),
    ),
    "env": (
        KnownOption("extends", multiple=True, variable=False),
        KnownOption("extra_scripts", old=("extra_script",), multiple=True),
        KnownOption("lib_deps", old=("lib_use", "lib_force", "lib_install"), multiple=True, variable=False),
    ),
}


def in_scope(section: str) -> tuple[KnownOption, ...]:
    """Return the known options of a section."""
    return _OPTIONS.get(section.partition(":")[0], ())


def find(section: str, name: str) -> KnownOption | None:
    """Return the known option of a section with this name, any of its names."""
    return next((option for option in in_scope(section) if name in option.names), None)
