"""A PlatformIO project seen from outside of a build: its environment, its settings, and where its files lie.

No build has to run. Where a build says more, as the linker script does, the build's own hooks know it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .. import files
from ..chips.families import Family
from ..errors import ConfigError, InputError
from ..settings import Settings, resolve
from . import boards, partitions
from .config import INI_NAME, ProjectConfig, read

FIRMWARE = "firmware.bin"
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Project:
    """A project and one of its environments; `load` makes it."""

    config: ProjectConfig = field(repr=False)
    environment: str

    @property
    def folder(self) -> Path:
        """The folder of platformio.ini, absolute."""
        return self.config.folder

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment's variables."""
        return self.config.variables

    def get(self, option: str) -> str | None:
        """Return an option of the environment, None if it is unset; a list has its entries on lines of their own."""
        return self.config.get(f"env:{self.environment}", option)

    @cached_property
    def settings(self) -> Settings:
        """The options of otaseal, environment variables included; raises ConfigError for a misspelt or wrong one."""
        return self.with_flags()

    def with_flags(self, **flags: str | None) -> Settings:
        """Return the options with those of a command line before them; raises as `settings`."""
        names = [name for name in self.config.names(f"env:{self.environment}") if name.startswith("custom_otaseal")]
        return resolve({name: self.get(name) or "" for name in names}, self.variables, flags)

    @cached_property
    def unset(self) -> tuple[str, ...]:
        """Environment variables that the options for otaseal refer to, and that are not set: they count as empty."""
        for name in self.config.names(f"env:{self.environment}"):
            if name.startswith(("custom_otaseal", "board", "extra_scripts")):
                with suppress(InputError):  # if it is one, whoever reads the option meets it
                    self.get(name)
        return tuple(sorted(self.config.unset))

    @property
    def board(self) -> str:
        """PlatformIO's name of the board, empty where the environment has none."""
        return self.get("board") or ""

    @property
    def filesystem(self) -> str:
        """What the build makes of the data folder, empty where nothing."""
        return boards.filesystem(self.get)

    @property
    def family(self) -> Family | None:
        """The family of chips that it is built for, None for another chip."""
        return boards.family(self.get)

    @property
    def one_slot(self) -> str:
        """The partition table, or the board, that leaves an ESP32 no room for updates; empty where none does."""
        return partitions.one_slot(self.get, self.folder)

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
        text = self.config.get("platformio", option) or ""
        known = {"PIOENV": self.environment, "PROJECT_DIR": str(self.folder)}

        def value(variable: re.Match[str]) -> str:
            name = variable[1] or variable[2]
            if name not in known:
                raise InputError(
                    f"{option} of platformio.ini is '{text}': '{variable[0]}' cannot be expanded outside of a build",
                    "write the folder out, or run the target: pio run -t rehearse",
                )
            return known[name]

        return self.path(_VARIABLE.sub(value, text))


def default_environments(folder: Path, variables: Mapping[str, str]) -> tuple[Project, ...]:
    """Return the project in `folder` as a plain `pio run` builds it, once for each environment; raises as `load`."""
    config = read(folder, variables)
    return tuple(Project(config, name) for name in config.default_environments)


def load(folder: Path, environment: str | None, variables: Mapping[str, str]) -> Project:
    """Return the project in `folder`; without `environment` its first default one, as `pio run` builds it.

    Raises InputError where there is no project, or its platformio.ini cannot be read; ConfigError for an environment
    that it has not.
    """
    config = read(folder, variables)
    if not config.environments:
        raise InputError(f"'{folder / INI_NAME}' has no [env:...]", "begin with 'pio project init'")
    chosen = environment or config.default_environments[0]
    if chosen not in config.environments:
        known = ", ".join(config.environments)
        raise ConfigError(f"platformio.ini has no environment '{chosen}'", f"it has: {known}")
    return Project(config, chosen)
