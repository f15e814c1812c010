"""platformio.ini edited: lines added to it that leave every other byte alone.

Pure. What the file says is read by `config`. Editing works on lines, and what comes out is read again: unless
it says exactly what was meant, and nothing else has changed, the edit is refused and a person makes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..errors import InputError
from .config import INI_NAME, ProjectConfig, entries, unreadable

SCRIPTS = "extra_scripts"
HOOKS: Mapping[str, str] = {
    "pre:verify_updates.py": "the device would take updates from anybody",
    "post:sign_firmware.py": "nothing is signed",
    "post:pack_certs.py": "no certificate gets onto the device",
    "post:ship.py": "there is no uploadall and no deploy",
}
"""The hooks of otaseal, in their order, and what a project lacks without each."""

_HEADER = re.compile(r"\[(.+)\]")
_OPTION = re.compile(r"(.*?)\s*[=:]")
_INLINE_COMMENT = re.compile(r"\s[#;]")


@dataclass(frozen=True)
class ProjectIni:
    """The text of the platformio.ini in `folder`, and the environment's variables; `parse` makes it."""

    text: str
    folder: Path
    variables: Mapping[str, str] = field(repr=False)

    @cached_property
    def _config(self) -> ProjectConfig:
        # What PLATFORMIO_EXTRA_SCRIPTS and its kin add today is not what the file says
        variables = {name: value for name, value in self.variables.items() if not name.startswith("PLATFORMIO_")}
        config = ProjectConfig(self.folder, variables)
        config.add(INI_NAME, self.text)
        return config

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of the sections `[env:...]`, in their order."""
        return self._config.environments

    def get(self, environment: str, option: str) -> str | None:
        """Return what `option` is in an environment, as `ProjectConfig.get` does."""
        return self._config.get(f"env:{environment}", option)

    def missing_scripts(self, environment: str, scripts: Sequence[str]) -> list[str]:
        """Return those of `scripts` (`pre:.../name.py`) whose hook is not attached yet, from wherever it comes."""
        attached = {_hook(script) for script in entries(self.get(environment, SCRIPTS) or "")}
        return [script for script in scripts if _hook(script) not in attached]

    def missing_options(self, environment: str, options: Mapping[str, str]) -> dict[str, str]:
        """Return those of `options` that are not set, to whatever value."""
        return {name: value for name, value in options.items() if not self.get(environment, name)}

    def with_lines(
        self, environment: str, scripts: Sequence[str], options: Mapping[str, str], comment: str = ""
    ) -> ProjectIni:
        """Return the file with what is missing of `scripts` and `options` added to `[env:<environment>]`.

        Where a script is added, `comment` is, too, as a line of its own. What is set stays as it is; scripts that are
        attached, or inherited, stay attached. Raises InputError when it cannot be done by adding lines to this file
        alone.
        """
        wanted = self.missing_scripts(environment, scripts)
        missing = self.missing_options(environment, options)
        if not wanted and not missing:
            return self
        self._refuse_unsafe(environment, [*wanted, *missing.values()])
        edited = replace(self, text=self._edited(f"env:{environment}", wanted, missing, comment))
        self._compare(edited, environment, wanted, missing)
        return edited

    def _refuse_unsafe(self, environment: str, values: Sequence[str]) -> None:
        if environment not in self.environments:
            raise _refusal(f"it has no section [env:{environment}]")
        if ("platformio", "extra_configs") in self._config.raw():
            raise _refusal("it reads more files with extra_configs")
        for value in values:
            if "%" in value or "${" in value or "$" in value.replace("$PROJECT_LIBDEPS_DIR/$PIOENV/", ""):
                raise _refusal(f"'{value}' has a character that PlatformIO would expand")

    def _edited(self, section: str, scripts: Sequence[str], options: Mapping[str, str], comment: str) -> str:
        lines = re.findall(r"[^\n]*\n|[^\n]+\Z", self.text)
        end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        spans = _scan(lines)
        added = [f"{name} = {value}" for name, value in options.items()]
        existing = spans.get((section, SCRIPTS))
        if scripts and existing is None:
            raw = self._config.raw()
            origin = next((layer for layer in self._config.sections(section) if (layer, SCRIPTS) in raw), None)
            inherited = [] if origin is None else [f"${{{origin}.{SCRIPTS}}}"]
            added = [f"{SCRIPTS} =", *(f"  {script}" for script in (*inherited, *scripts)), *added]
        if scripts and comment:
            added.insert(0, comment)
        last = max(span.end for (where, _), span in spans.items() if where == section)
        _insert(lines, last, added, end)  # the later line first, so that the other's number still holds
        if scripts and existing is not None:
            first = lines[existing.start]
            if existing.last == existing.start and ", " in _cut(first):  # PlatformIO splits at commas if it is one line
                at = len(_cut(first).rstrip())
                lines[existing.start] = first[:at] + "".join(f", {script}" for script in scripts) + first[at:]
            else:
                _insert(lines, existing.last, [existing.indent + script for script in scripts], end)
        return "".join(lines)

    def _compare(
        self, edited: ProjectIni, environment: str, scripts: Sequence[str], options: Mapping[str, str]
    ) -> None:
        """Raise InputError unless `edited` says what this file says, and the additions, and nothing else."""
        section = f"env:{environment}"
        try:
            before, after = self._config.raw(), edited._config.raw()
            old, new = (entries(ini.get(environment, SCRIPTS) or "") for ini in (self, edited))
        except InputError as error:
            raise _refusal("the result could not be read") from error
        expected = {**before, **{(section, name): value for name, value in options.items()}}
        after.pop((section, SCRIPTS), None)
        expected.pop((section, SCRIPTS), None)
        if after != expected or new != [*old, *scripts]:
            raise _refusal("lines added to it would not say what was meant")


@dataclass
class _Span:
    """Where an option, or a section's header, stands: lines from `start`, its last value, and comments up to `end`."""

    start: int
    last: int
    end: int
    indent: str = "  "


def parse(data: bytes, folder: Path, variables: Mapping[str, str]) -> ProjectIni:
    """Return the platformio.ini in `data`; raises InputError when PlatformIO could not read it either."""
    try:
        ini = ProjectIni(data.decode(), folder, variables)
    except UnicodeDecodeError as error:
        raise unreadable(INI_NAME, "it is not UTF-8") from error
    ini.environments  # noqa: B018 - parsed here, so that nothing later raises
    return ini


def lines_to_add(scripts: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Return the lines that a person adds to an environment."""
    head = [f"{SCRIPTS} =", *(f"  {script}" for script in scripts)] if scripts else []
    return [*head, *(f"{name} = {value}" for name, value in options.items())]


def _refusal(reason: str) -> InputError:
    return InputError(f"platformio.ini cannot be edited safely: {reason}", "add the lines yourself")


def split_script(entry: str) -> tuple[str, str]:
    """Return scope (`pre` or `post`, the default) and path of an entry of `extra_scripts`, its separators all `/`.

    The colon of a drive, as in `pre:C:\\a\\b.py`, belongs to the path.
    """
    scope, _, path = entry.partition(":")
    if scope not in ("pre", "post"):
        scope, path = "post", entry
    return scope, path.replace("\\", "/")


def _hook(entry: str) -> str:
    """Return what tells one hook from another wherever it lies: of `pre:a/b/c.py` it is `pre:b/c.py`."""
    scope, path = split_script(entry)
    parts = path.split("/")
    return f"{scope}:{'/'.join(parts[-2:])}" if len(parts) > 2 else entry


def _cut(line: str) -> str:
    """Return `line` without its comment and its end."""
    comment = _INLINE_COMMENT.search(line)
    return (line[: comment.start()] if comment else line).rstrip("\r\n")


def _value(line: str) -> str:
    return "" if line.strip().startswith(("#", ";")) else _cut(line).strip()


def _scan(lines: Sequence[str]) -> dict[tuple[str, str], _Span]:
    """Return where each section's header (option "") and each option stands, read as configparser reads."""
    spans: dict[tuple[str, str], _Span] = {}
    section, span, level, in_option = "", _Span(0, 0, 0), 0, False
    for number, line in enumerate(lines):
        value = _value(line)
        indent = len(line) - len(line.lstrip())
        if not value:
            if line.strip() and indent > level and span.end == number - 1:
                span.end = number  # a comment among the lines of a value belongs to it
            continue
        if in_option and indent > level:
            span.last = span.end = number
            span.indent = line[:indent]
            continue
        header, option = _HEADER.match(value), _OPTION.match(value)
        level, in_option = indent, header is None
        name = ""
        if header:
            section = header[1]
        elif option:
            name = option[1].lower()
        span = spans[section, name] = _Span(number, number, number, line[:indent] + "  ")
    return spans


def _insert(lines: list[str], after: int, added: Sequence[str], end: str) -> None:
    if added and not lines[after].endswith("\n"):
        lines[after] += end
    lines[after + 1 : after + 1] = [line + end for line in added]
