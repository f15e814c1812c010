"""A PlatformIO project seen from outside of a build: its environment, its settings, and where its files lie.

Read from platformio.ini alone, so that no build has to run. Where a build says more, as the linker script does, the
build's own hooks know it. The caller passes the environment variables in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import files, project_ini, settings
from .errors import ConfigError, InputError
from .project_ini import ProjectIni

__all__ = ["FILESYSTEM", "Project", "load"]

FILESYSTEM = "board_build.filesystem"
INI_NAME = "platformio.ini"
FIRMWARE = "firmware.bin"
DEFAULT_FILESYSTEM = "spiffs"
"""The platform's own default, in which no certificates of ours lie (F15)."""


@dataclass(frozen=True)
class Project:
    """The project in `folder` and one of its environments; `load` makes it."""

    folder: Path
    ini: ProjectIni
    environment: str
    variables: Mapping[str, str] = field(repr=False)

    @cached_property
    def settings(self) -> settings.Settings:
        """The options of otaseal, environment variables included; raises ConfigError for a misspelt or wrong one."""
        found = self.ini.options(self.environment)
        ours = {name: value for name, value in found.items() if name.startswith("custom_otaseal")}
        return settings.resolve(ours, self.variables)

    @property
    def board(self) -> str:
        """PlatformIO's name of the board, empty where the environment has none."""
        return self.ini.get(self.environment, "board") or ""

    @property
    def filesystem(self) -> str:
        """What the build makes of the data folder: `littlefs`, or the platform's default `spiffs` (F15)."""
        return self.ini.get(self.environment, FILESYSTEM) or DEFAULT_FILESYSTEM

    @property
    def workspace(self) -> Path:
        """The folder `.pio`."""
        return self._directory("workspace_dir", ".pio", self.folder)

    @property
    def build(self) -> Path:
        """The folder with what this environment built."""
        return self._directory("build_dir", "build", self.workspace) / self.environment

    @property
    def data(self) -> Path:
        """The folder that becomes the device's filesystem."""
        return self._directory("data_dir", "data", self.folder)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The folders that the firmware is compiled from."""
        names = (("src_dir", "src"), ("include_dir", "include"), ("lib_dir", "lib"))
        return tuple(self._directory(option, default, self.folder) for option, default in names)

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

    def _directory(self, option: str, default: str, parent: Path) -> Path:
        given = self.variables.get(f"PLATFORMIO_{option.upper()}") or self.ini.platformio(option)
        if not given:
            return parent / default
        for name, value in (("PROJECT_DIR", self.folder), ("PROJECT_WORKSPACE_DIR", self.folder / ".pio")):
            given = given.replace(f"${{{name}}}", str(value)).replace(f"${name}", str(value))
        return self.path(given)


def load(folder: Path, environment: str | None, variables: Mapping[str, str]) -> Project:
    """Return the project in `folder`; without `environment` its first default one, as `pio run` builds it.

    Raises InputError where there is no project, or its platformio.ini cannot be read; ConfigError for an environment
    that it has not.
    """
    file = folder / INI_NAME
    if not file.is_file():
        raise InputError(f"'{folder}' is no PlatformIO project", "name the folder of platformio.ini with --project")
    ini = project_ini.parse(files.read_bounded(file, project_ini.MAX_SIZE, "project"))
    if not ini.environments:
        raise InputError(f"'{file}' has no [env:...]", "begin with 'pio project init'")
    chosen = environment or ini.default_environments[0]
    if chosen not in ini.environments:
        raise ConfigError(f"platformio.ini has no environment '{chosen}'", f"it has: {', '.join(ini.environments)}")
    return Project(folder.resolve(), ini, chosen, variables)
