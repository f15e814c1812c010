"""The parts of a build: what is known of each, read from the files that its authors and PlatformIO put beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from .. import files
from ..errors import OtasealError

MAX_MANIFEST = 256 * 1024
MAX_TEXT = 1000
"""Characters of anything that a library says of itself."""
_PLACE = re.compile(r"[0-9a-z._-]+(:[0-9]+)?")
_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_IN_PATH = "/%:@!$&'()*+,;=~"
_GITHUB = re.compile(
    r"/([A-Za-z0-9-]+)/([A-Za-z0-9._-]+?)(?:\.git)?"
    r"(?:/archive/(?:refs/tags/)?(?P<archive>[^/]+?)\.(?:zip|tar\.gz)|/releases/download/(?P<release>[^/]+)/[^/]+)?/?"
)
"""A repository; or what it gives for download, of a tag or a commit."""
_SSH = re.compile(r"[^@/:\s]+@([^@/:\s]+):(?!/)(\S+)")
"""An address as git has it: git@host:path."""
_COMMIT = re.compile("[0-9a-f]{40}")
_PROPERTY = re.compile(r"^\s*([a-z_]+)\s*=\s*(.*?)\s*$", re.M)
_SHA = re.compile(r"[+.]sha\.([0-9a-f]{7,40})$")
_CORE_COMMIT = re.compile(r"#define\s+ARDUINO_ESP(?:8266|32)_GIT_VER\s+0x([0-9a-fA-F]{8})\b")
_CPE = {
    "framework-espidf": "espressif:esp-idf",
    "framework-arduinoespressif32": "espressif:arduino-esp32",
    "nanopb/nanopb": "nanopb_project:nanopb",
    "wolfssl/arduino-wolfssl": "wolfssl:wolfssl",
    "wolfssl/wolfssl": "wolfssl:wolfssl",
}
"""Vendor and product by which NVD surely knows a package of PlatformIO, or a library with its owner: anybody may take
its name alone. lwIP, Mbed TLS and BearSSL lie within frameworks, which do not say their versions."""


class Kind(Enum):
    """What a part is; the value is what messages call it."""

    PLATFORM = "platform"
    FRAMEWORK = "framework"
    TOOLCHAIN = "toolchain"
    TOOL = "tool"
    LIBRARY = "library"


@dataclass(frozen=True)
class Part:
    """One part: `version`, `owner`, `licence`, `source` (an address), `commit`, `tree` (a SHA-256) are "" if unknown.

    `upstream` is the version as its authors write it, where PlatformIO has one of its own for it; `within` the package
    that a library is a part of.
    """

    kind: Kind
    name: str
    version: str = ""
    owner: str = ""
    source: str = ""
    licence: str = ""
    commit: str = ""
    tree: str = ""
    upstream: str = ""
    within: str = ""
    folder: Path = Path()

    @property
    def purl(self) -> tuple[str, str, str, str]:
        """Type, namespace, name and version of its package URL: that of its repository where GitHub has that.

        There the version is a commit or a tag, if one was asked for: its manifest may have that of the release before.
        """
        match = _on_github(self.source)
        if match is not None and not self.within:
            asked = _checked_out(self.version, self.source) or match["archive"] or match["release"]
            return "github", match[1].lower(), match[2].lower(), asked or self.upstream or self.version
        return "generic", self.within or self.owner.lower(), self.name, self.version

    @property
    def cpe(self) -> str:
        """The name by which NVD knows it, "" where that is not known."""
        _, namespace, name, _ = self.purl
        known = _CPE.get(f"{namespace}/{name}".lower() if self.kind is Kind.LIBRARY else self.name)
        version = self.upstream or self.version
        return f"cpe:2.3:a:{known}:{version}:*:*:*:*:*:*:*" if known and re.fullmatch(r"[0-9.]+", version) else ""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.kind.value} '{self.name}'"


def read_part(kind: Kind, folder: Path, installed: Mapping[str, str]) -> Part:
    """Return what is known of a part in `folder`: by its own manifest, and before that by what PlatformIO installed.

    `installed` may have name, version, owner, uri. A manifest that cannot be read is no error: much is unknown then.
    """
    said = _manifest(folder)
    version = installed.get("version") or said.get("version", "")
    source = _address(installed.get("uri", "")) or said.get("source", "")
    return Part(
        kind=kind,
        name=(installed.get("name") or said.get("name", "")).strip("/") or folder.name,
        version=version,
        owner=installed.get("owner") or said.get("owner", ""),
        source=source,
        licence=said.get("licence", ""),
        commit=(_commit(folder) if kind is not Kind.LIBRARY else "")
        or _checked_out(version, source)
        or _archived(source),
        upstream=_as_written(said.get("version", ""), version),
        folder=folder,
    )


def _manifest(folder: Path) -> dict[str, str]:
    """Return name, version, owner, source and licence as far as a manifest in the folder says them, the first first."""
    found: dict[str, str] = {}
    for name, parse in (
        ("library.json", _of_json),
        ("library.properties", _of_properties),
        ("module.json", _of_json),
        ("package.json", _of_json),
        ("platform.json", _of_json),
    ):
        try:
            if (folder / name).is_file():
                text = files.read_bounded(folder / name, MAX_MANIFEST, "manifest").decode("utf-8-sig", "replace")
                found = {key: value[:MAX_TEXT] for key, value in parse(text).items() if value} | found
        except (OtasealError, ValueError, RecursionError, OSError):
            continue  # PlatformIO passes it over, too
    return {key: value for key, value in found.items() if (key, value.lower()) != ("licence", "unknown")}


def _of_json(text: str) -> dict[str, str]:
    found = json.loads(text)
    if not isinstance(found, dict):
        return {}
    repository = found.get("repository")
    address = repository.get("url") if isinstance(repository, dict) else repository
    return {
        "name": _text(found.get("name")),
        "version": _text(found.get("version")),
        "owner": _author(found.get("authors", found.get("author", found.get("maintainer")))),
        "source": _address(_text(address)) or _address(_text(found.get("homepage"))),
        "licence": _text(found.get("license")),
    }


def _of_properties(text: str) -> dict[str, str]:
    found = dict(_PROPERTY.findall(text))
    return {
        "name": found.get("name", ""),
        "version": found.get("version", ""),
        "owner": _person(found.get("author") or found.get("maintainer") or ""),
        "source": _address(found.get("url", "")),
        "licence": found.get("license", ""),
    }


def _text(value: Any) -> str:
    """Return a text of a manifest; JSON may have halves of characters in it, which no document can."""
    return value.strip().encode(errors="replace").decode() if isinstance(value, str) else ""


def _author(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else value
    return _person(_text(first.get("name")) if isinstance(first, dict) else _text(first))


def _person(text: str) -> str:
    """Return the first of several names, without its e-mail address: that belongs to nobody's list of parts."""
    return re.sub(r"\s*<[^>]*>|\s*[(]?\S+@\S+", "", text.partition(",")[0]).strip()


def _address(text: str) -> str:
    """Return the address of a repository or a page as a valid URI, without a password; "" for none."""
    text = text.strip().removeprefix("git+")
    if (match := _SSH.fullmatch(text)) is not None:
        text = f"ssh://{match[1]}/{match[2]}"
    try:
        parts = urlsplit(text)
        place = (parts.hostname or "").encode("idna").decode() + (f":{parts.port}" if parts.port else "")
    except ValueError:  # UnicodeError is one
        return ""
    if parts.scheme not in ("http", "https", "git", "ssh") or not _PLACE.fullmatch(place):
        return ""
    path, fragment = (quote(_PERCENT.sub("%25", part), safe=_IN_PATH) for part in (parts.path, parts.fragment))
    address = parts._replace(netloc=place, path=path, query="", fragment=fragment).geturl()
    return address if len(address) <= MAX_TEXT else ""


def _checked_out(version: str, source: str) -> str:
    """Return the commit that PlatformIO noted in a version, in full where the address asks for it; "" for none."""
    match, asked = _SHA.search(version), urlsplit(source).fragment
    short = match[1] if match else ""
    return asked if short and _COMMIT.fullmatch(asked) and asked.startswith(short) else short


def _on_github(source: str) -> re.Match[str] | None:
    parts = urlsplit(source)
    return _GITHUB.fullmatch(parts.path) if parts.hostname == "github.com" else None


def _archived(source: str) -> str:
    """Return the commit of which GitHub made the archive at this address, "" for none."""
    match = _on_github(source)
    return match["archive"] if match is not None and _COMMIT.fullmatch(match["archive"] or "") else ""


def _as_written(said: str, version: str) -> str:
    """Return the version of a manifest if `version` is what PlatformIO makes of it: three numbers, + and the rest."""
    made = (f"{said}.0", f"{said}.0.0", f"0.0.0+{said}", "+".join(said.rsplit(".", 1)))
    return said if said != version and version in made else ""


def _commit(folder: Path) -> str:
    """Return the commit of a framework, as its core says it to sketches."""
    for header in sorted(folder.glob("cores/*/core_version.h")):
        text = files.read_bounded(header, MAX_MANIFEST, "core's version").decode("utf-8", "replace")
        if match := _CORE_COMMIT.search(text):
            return match[1].lower()
    return ""
