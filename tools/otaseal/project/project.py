"""A PlatformIO project seen from outside of a build: its environment, its settings, and where its files lie.

Read by PlatformIO itself where it is installed, else by the same rules, so that no build has to run. Where a build says
more, as the linker script does, the build's own hooks know it. The caller passes the environment variables in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from .. import files
from ..errors import ConfigError, InputError
from ..settings import Settings, resolve
from . import files as project_files
from . import platformio_config
from .config import INI_NAME, Environment

__all__ = ["FILESYSTEM", "Configuration", "Project", "default_environments", "load"]

FILESYSTEM = "board_build.filesystem"
FIRMWARE = "firmware.bin"
DEFAULT_FILESYSTEM = "spiffs"
"""The platform's own default, in which no certificates of ours lie (F15)."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Configuration(Protocol):
    """What a project's files say for one environment; a list has its entries on lines of their own."""

    @property
    def names(self) -> tuple[str, ...]:
        """The options that are set."""

    def get(self, option: str) -> str | None:
        """Return an option, None if it is unset."""

    def platformio(self, option: str) -> str | None:
        """Return a directory of the section [platformio], as `data_dir`, or its default."""


@dataclass(frozen=True)
class Project:
    """The project in `folder` and one of its environments; `load` makes it."""

    folder: Path
    environment: str
    config: Configuration = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    unset: tuple[str, ...] = ()
    """Environment variables that the options for otaseal refer to, and that are not set: they count as empty."""

    @property
    def read_by_platformio(self) -> bool:
        """Whether PlatformIO itself has read the files."""
        return isinstance(self.config, platformio_config.Answer)

    @cached_property
    def settings(self) -> Settings:
        """The options of otaseal, environment variables included; raises ConfigError for a misspelt or wrong one."""
        return self.with_flags()

    def with_flags(self, **flags: str | None) -> Settings:
        """Return the options with those of a command line before them; raises as `settings`."""
        names = [name for name in self.config.names if name.startswith("custom_otaseal")]
        return resolve({name: self.config.get(name) or "" for name in names}, self.variables, flags)

    @property
    def board(self) -> str:
        """PlatformIO's name of the board, empty where the environment has none."""
        return self.config.get("board") or ""

    @property
    def filesystem(self) -> str:
        """What the build makes of the data folder: `littlefs`, or the platform's default `spiffs` (F15)."""
        return self.config.get(FILESYSTEM) or DEFAULT_FILESYSTEM

    @property
    def workspace(self) -> Path:
        """The folder `.pio`."""
        return self._directory("workspace_dir")

    @property
    def build(self) -> Path:
        """The folder with what this environment built."""
        return self._directory("build_dir") / self.environment

    @property
    def data(self) -> Path:
        """The folder that becomes the device's filesystem."""
        return self._directory("data_dir")

    @property
    def sources(self) -> tuple[Path, ...]:
        """The folders that the firmware is compiled from."""
        return tuple(map(self._directory, ("src_dir", "include_dir", "lib_dir")))

    @property
    def firmware(self) -> Path:
        """What the build made, raw or, with `board_build.gzip_fw`, the gzip (F9)."""
        return self.build / FIRMWARE

    @property
    def filesystem_image(self) -> Path:
        """What `buildfs` made of the data folder."""
        return self.build / f"{self.filesystem}.bin"

    def path(self, text: str) -> Path:
        """Return a path of an option: a relative one starts at the project."""
        return files.resolve_path(text, self.folder)

    def _directory(self, option: str) -> Path:
        """Return a directory, with those variables of a build in it that are known without one."""
        text = self.config.platformio(option) or ""
        known = {"PIOENV": self.environment, "PROJECT_DIR": str(self.folder)}

        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if name not in known:
                raise InputError(
                    f"{option} of platformio.ini is '{text}': '{found[0]}' cannot be expanded outside of a build",
                    "write the folder out, or run the target: pio run -t rehearse",
                )
            return known[name]

        return self.path(_VARIABLE.sub(value, text))


def default_environments(folder: Path, variables: Mapping[str, str]) -> tuple[Project, ...]:
    """Return the project in `folder` as a plain `pio run` builds it, once for each environment; raises as `load`.

    PlatformIO is not asked: this is for telling environments apart.
    """
    reading = project_files.read(folder, variables)
    reading.check_inheritance()
    names = reading.default_environments
    return tuple(Project(folder.resolve(), name, Environment(reading, name), variables) for name in names)


def load(folder: Path, environment: str | None, variables: Mapping[str, str]) -> Project:
    """Return the project in `folder`; without `environment` its first default one, as `pio run` builds it.

    Raises InputError where there is no project, or its platformio.ini cannot be read; ConfigError for an environment
    that it has not.
    """
    reading = project_files.read(folder, variables)
    if not reading.environments:
        raise InputError(f"'{folder / INI_NAME}' has no [env:...]", "begin with 'pio project init'")
    reading.check_inheritance()
    answer = platformio_config.ask(folder, environment, variables)
    known = reading.environments if answer is None else answer.environments
    chosen = environment or (reading.default_environments[0] if answer is None else answer.name)
    if chosen is None or chosen not in known:
        raise ConfigError(f"platformio.ini has no environment '{chosen}'", f"it has: {', '.join(known)}")
    said = Environment(reading, chosen)
    for name in said.names:
        if name.startswith(("custom_otaseal", "board", "extra_scripts")):
            with suppress(InputError):  # if it is one, whoever reads the option meets it
                said.get(name)
    return Project(folder.resolve(), chosen, answer or said, variables, tuple(sorted(reading.unset)))
