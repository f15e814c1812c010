"""What the files of a PlatformIO project say, read by PlatformIO's rules and without PlatformIO.

Inheritance (`extends`, `[env]`), references (`${section.option}`, `${sysenv.X}`, `${this.x}`, `${PROJECT_DIR}`), the
defaults of PlatformIO's own options, the variables `PLATFORMIO_*` that replace options, and Python's `%(name)s` give
what `pio project config` gives. What PlatformIO refuses is refused here. Pure: the caller brings the files, and says
where they lie.
"""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from . import options
from .options import FOLDER, KnownOption

__all__ = ["INI_NAME", "Environment", "ProjectContext", "Reading", "entries", "unreadable"]

INI_NAME = "platformio.ini"
MAX_DEPTH = 60
"""References behind each other, on the way to one value; PlatformIO ends where Python does."""

_REFERENCE = re.compile(r"\$\{(?:([^.}()]+)\.)?([^}]+)\}")
_OLD_HASH = re.compile(r"(?<!\$)\$PROJECT_HASH")
_COMMENT = re.compile(r"\s+;.*$")
_TRUE = ("1", "true", "t", "yes", "y", "on")


@dataclass(frozen=True)
class ProjectContext:
    """What a project's files refer to: their own absolute `folder` and its `name`, variables, Unix seconds.

    `absolute` makes a directory out of text: `~` is the user's home, and what is relative starts at the project.
    """

    folder: str
    name: str
    variables: Mapping[str, str] = field(repr=False)
    time: int
    absolute: Callable[[str], str] = field(repr=False)


class Reading:
    """A project's files in one: platformio.ini, and with `add` those that it reads with extra_configs.

    Every method raises InputError for what PlatformIO refuses, too.
    """

    def __init__(self, around: ProjectContext) -> None:
        self.around = around
        self.unset: set[str] = set()
        """Names of variables that were referred to so far, and that are not set: PlatformIO reads nothing for them."""
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
        found = self._get(section, option, 0)
        return None if found is None else found.strip()

    def names(self, section: str) -> tuple[str, ...]:
        """Return the options that a section has, its own, inherited, or from a variable."""
        found = [name for layer in self.sections(section) for name in self._parser.options(layer)]
        found += [
            option.name
            for option in options.in_scope(section)
            if option.variable and option.variable in self.around.variables
        ]
        return tuple(dict.fromkeys(found))

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
            name, behind = queue.pop()
            if name in behind:
                raise unreadable(INI_NAME, f"'extends' of [{name}] leads back to it")
            if self._parser.has_section(name):
                yield name
                queue.extend((parent, (*behind, name)) for parent in entries(self._raw(name, "extends") or ""))

    def _raw(self, section: str, option: str) -> str | None:
        try:
            return self._parser.get(section, option, fallback=None)
        except configparser.Error as error:
            raise unreadable(INI_NAME, str(error).splitlines()[0]) from error

    def _get(self, section: str, option: str, depth: int) -> str | None:
        if depth > MAX_DEPTH:
            raise unreadable(INI_NAME, f"'{option}' of [{section}] refers to itself")
        known = options.find(section, option)
        text = self._set(section, known.names if known else (option,))
        if known is not None:
            given = next(
                (found for variable in known.variables if (found := self.around.variables.get(variable))), None
            )
            if given:
                text = "\n".join(filter(None, (text, given))) if known.multiple else given
            if text is None:
                text = self.around.name if known.default == FOLDER else known.default
        elif text is None:
            text = self._raw(section, option)  # by whatever case a reference writes it in, and of this section alone
        if text is None:
            return None
        return self._shaped(self._expand(section, option, text, depth), known)

    def _set(self, section: str, names: tuple[str, ...]) -> str | None:
        """Return the text that the files have for an option, by whichever of its names comes first."""
        for origin in self.sections(section):
            found = next((name for name in self._parser.options(origin) if name in names), None)
            if found is not None:
                return self._raw(origin, found)
        return None

    def _shaped(self, text: str, known: KnownOption | None) -> str:
        if known is not None and known.multiple:
            return "\n".join(entries(text))
        if known is not None and known.boolean:
            return str(text.strip().lower() in _TRUE)
        if known is not None and known.directory and text and not ("${" in text and "}" in text):
            return self.around.absolute(text)
        return text

    def _expand(self, section: str, option: str, text: str, depth: int) -> str:
        def value(found: re.Match[str]) -> str:
            where, name = found[1], found[2]
            if where is None:
                return self._built_in(name)
            if where == "sysenv":
                if name not in self.around.variables:
                    self.unset.add(name)
                return self.around.variables.get(name, "")
            if where == "this":
                if name == "__env__" and section.startswith("env:"):
                    return section.removeprefix("env:")
                where = section
            there = self._get(where, name, depth + 1)
            return self._unset(where, name, f"'{option}' of [{section}]") if there is None else there

        return _REFERENCE.sub(value, _OLD_HASH.sub("${PROJECT_HASH}", text))

    def _built_in(self, name: str) -> str:
        folder = self.around.folder
        digest = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()
        known = {
            "PROJECT_DIR": folder,
            "PROJECT_HASH": f"{self.around.name}-{digest[:10]}",
            "UNIX_TIME": str(self.around.time),
        }
        return known.get(name, f"${{{name}}}")  # another one is SCons's

    def _unset(self, section: str, option: str, by: str) -> str:
        known = options.find(section, option)
        if known is None:
            raise unreadable(INI_NAME, f"{by} refers to '{option}' of [{section}], which is not set")
        return "" if known.multiple else "None"  # what PlatformIO puts there


@dataclass(frozen=True)
class Environment:
    """What the files say for one environment; raises as `Reading` does."""

    reading: Reading
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """The options that are set."""
        return self.reading.names(f"env:{self.name}")

    def get(self, option: str) -> str | None:
        """Return an option of the environment, None if it is unset."""
        return self.reading.get(f"env:{self.name}", option)

    def platformio(self, option: str) -> str | None:
        """Return an option of the section [platformio], or its default."""
        return self.reading.get("platformio", option)


def entries(value: str) -> list[str]:
    """Return the entries of a list as PlatformIO splits it: at the ends of lines, or at commas if it is one line."""
    found = [part.strip() for part in value.split("\n" if "\n" in value else ", ")]
    return [_COMMENT.sub("", part).strip() for part in found if part and not part.startswith((";", "#"))]


def unreadable(name: str, reason: str) -> InputError:
    """Return the error for the file `name`, which PlatformIO could not read either."""
    return InputError(f"{name} cannot be read: {reason}", "correct it until 'pio project config' works")
