"""What the files of a PlatformIO project say, read by PlatformIO's rules and without PlatformIO.

platformio.ini and what it reads with `extra_configs` are found in PlatformIO's places and order. Inheritance
(`extends`, `[env]`), references (`${section.option}`, `${sysenv.X}`, `${this.x}`, `${PROJECT_DIR}`), the defaults of
`options`, the variables `PLATFORMIO_*` that replace them, and Python's `%(name)s` give what `pio project config` gives,
for all that otaseal reads. What PlatformIO refuses is refused here.
"""

from __future__ import annotations

import configparser
import glob
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import files
from ..errors import InputError
from . import options
from .options import FOLDER, KnownOption

INI_NAME = "platformio.ini"
MAX_SIZE = 1024 * 1024
"""Bytes of a platformio.ini: the largest in the wild have some ten thousand."""
MAX_FILES = 1000
"""More files than any project has: large ones have some two hundred."""
MAX_DEPTH = 60
"""References behind each other, on the way to one value; PlatformIO ends where Python does."""

_REFERENCE = re.compile(r"\$\{(?:([^.}()]+)\.)?([^}]+)\}")
_OLD_HASH = re.compile(r"(?<!\$)\$PROJECT_HASH")
_COMMENT = re.compile(r"\s+;.*$")


class ProjectConfig:
    """The configuration of the project in `folder`: empty until files are added; `variables` are the environment's.

    Every method raises InputError for what PlatformIO refuses, too.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder, self.variables = folder.resolve(), variables
        self.unset: set[str] = set()
        """Names of variables that were referred to so far, and that are not set: PlatformIO reads nothing for them."""
        self._time = int(time.time())
        self._parser = configparser.ConfigParser(inline_comment_prefixes=("#", ";"))

    def add(self, name: str, text: str) -> None:
        """Read the file `name` with this text over what was read before."""
        try:
            self._parser.read_string(text, name)
        except configparser.Error as error:
            raise unreadable(name, str(error).splitlines()[0]) from error

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of the sections `[env:...]`, in their order."""
        return tuple(section.removeprefix("env:") for section in self._parser.sections() if section.startswith("env:"))

    @property
    def default_environments(self) -> tuple[str, ...]:
        """What a plain `pio run` builds: `default_envs`, else every environment."""
        return tuple(entries(self.get("platformio", "default_envs") or "")) or self.environments

    def get(self, section: str, option: str) -> str | None:
        """Return an option of a section, its own, inherited, from a variable or PlatformIO's default; None if unset.

        The entries of a list stand on lines of their own.
        """
        value = self._get(section, option, 0)
        return None if value is None else value.strip()

    def names(self, section: str) -> tuple[str, ...]:
        """Return the options that a section has, its own, inherited, or from a variable."""
        names = [name for layer in self.sections(section) for name in self._parser.options(layer)]
        names += [
            option.name
            for option in options.in_scope(section)
            if not self.variables.keys().isdisjoint(option.variables)
        ]
        return tuple(dict.fromkeys(names))

    def raw(self) -> dict[tuple[str, str], str]:
        """Return what the files say, nothing expanded, by section and option; option "" is the section itself."""
        texts = {(section, ""): "" for section in self._parser.sections()}
        for section in self._parser.sections():
            texts |= {(section, name): text.strip() for name, text in self._parser.items(section, raw=True)}
        return texts

    def check_inheritance(self) -> None:
        """Raise InputError for a section that extends itself in the end: PlatformIO would look for ever."""
        for section in self._parser.sections():
            for _ in self.sections(section):
                pass

    def sections(self, section: str) -> Iterator[str]:
        """Yield the sections that `section` takes options from, the strongest first."""
        queue: list[tuple[str, tuple[str, ...]]] = [(section, ())]
        if section.startswith("env:"):
            queue.insert(0, ("env", ()))
        while queue:
            name, children = queue.pop()
            if name in children:
                raise unreadable(INI_NAME, f"'extends' of [{name}] leads back to it")
            if self._parser.has_section(name):
                yield name
                queue.extend((parent, (*children, name)) for parent in entries(self._raw(name, "extends") or ""))

    def _raw(self, section: str, option: str) -> str | None:
        try:
            return self._parser.get(section, option, fallback=None)
        except configparser.Error as error:
            raise unreadable(INI_NAME, str(error).splitlines()[0]) from error

    def _get(self, section: str, option: str, depth: int) -> str | None:
        if depth > MAX_DEPTH:
            raise unreadable(INI_NAME, f"'{option}' of [{section}] refers to itself")
        known = options.find(section, option)
        text = self._inherited(section, known.names if known else (option,))
        if known is not None:
            replacement = next((value for name in known.variables if (value := self.variables.get(name))), None)
            if replacement:
                text = "\n".join(filter(None, (text, replacement))) if known.multiple else replacement
            if text is None:
                text = self.folder.name if known.default == FOLDER else known.default
        elif text is None:
            text = self._raw(section, option)  # by whatever case a reference writes it in, and of this section alone
        if text is None:
            return None
        return self._normalised(self._expand(section, option, text, depth), known)

    def _inherited(self, section: str, names: tuple[str, ...]) -> str | None:
        """Return the text that the files have for an option, by whichever of its names comes first."""
        for layer in self.sections(section):
            name = next((name for name in self._parser.options(layer) if name in names), None)
            if name is not None:
                return self._raw(layer, name)
        return None

    def _normalised(self, text: str, known: KnownOption | None) -> str:
        if known is not None and known.multiple:
            return "\n".join(entries(text))
        if known is not None and known.directory and text and not ("${" in text and "}" in text):
            return os.path.abspath(files.resolve_path(text, self.folder))  # noqa: PTH100 - links stay, as in a build
        return text

    def _expand(self, section: str, option: str, text: str, depth: int) -> str:
        def value(reference: re.Match[str]) -> str:
            where, name = reference[1], reference[2]
            if where is None:
                return self._built_in(name)
            if where == "sysenv":
                if name not in self.variables:
                    self.unset.add(name)
                return self.variables.get(name, "")
            if where == "this":
                if name == "__env__" and section.startswith("env:"):
                    return section.removeprefix("env:")
                where = section
            target = self._get(where, name, depth + 1)
            if target is not None:
                return target
            known = options.find(where, name)
            if known is None:
                reason = f"'{option}' of [{section}] refers to '{name}' of [{where}], which is not set"
                raise unreadable(INI_NAME, reason)
            return "" if known.multiple else "None"  # what PlatformIO puts there

        return _REFERENCE.sub(value, _OLD_HASH.sub("${PROJECT_HASH}", text))

    def _built_in(self, name: str) -> str:
        digest = hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()
        known = {
            "PROJECT_DIR": str(self.folder),
            "PROJECT_HASH": f"{self.folder.name}-{digest[:10]}",
            "UNIX_TIME": str(self._time),
        }
        return known.get(name, f"${{{name}}}")  # another one is SCons's


def read(folder: Path, variables: Mapping[str, str]) -> ProjectConfig:
    """Return the project in `folder`; raises InputError where there is none, or PlatformIO could not read it."""
    if not (folder / INI_NAME).is_file():
        raise InputError(f"'{folder}' is not a PlatformIO project", "name the folder of platformio.ini with --project")
    config = ProjectConfig(folder, variables)
    _add(config, folder, INI_NAME, set())
    config.check_inheritance()
    return config


def _add(config: ProjectConfig, folder: Path, name: str, done: set[str]) -> None:
    """Add the file `name`, and those that it makes PlatformIO read then, in that order."""
    if name in done:
        return
    done.add(name)
    if len(done) > MAX_FILES:
        raise unreadable(INI_NAME, f"extra_configs names more than {MAX_FILES} files")
    try:
        config.add(name, files.read_bounded(folder / name, MAX_SIZE, "project").decode())
    except UnicodeDecodeError as error:
        raise unreadable(name, "it is not UTF-8") from error
    for pattern in entries(config.get("platformio", "extra_configs") or ""):
        for path in glob.glob(str(files.resolve_path(pattern, Path())), root_dir=folder, recursive=True):  # noqa: PTH207 - no hidden ones
            if (folder / path).is_file():
                _add(config, folder, path, done)


def entries(value: str) -> list[str]:
    """Return the entries of a list as PlatformIO splits it: at the ends of lines, or at commas if it is one line."""
    parts = [part.strip() for part in value.split("\n" if "\n" in value else ", ")]
    return [_COMMENT.sub("", part).strip() for part in parts if part and not part.startswith((";", "#"))]


def unreadable(name: str, reason: str) -> InputError:
    """Return the error for the file `name`, which PlatformIO could not read either."""
    return InputError(f"{name} cannot be read: {reason}", "correct it until 'pio project config' works")
