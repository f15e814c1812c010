"""Update requests: what a device claims about itself in the headers that its core sends (F28).

`ESP8266httpUpdate`, arduino-pico's and arduino-esp32's `HTTPUpdate` differ in prefix and in what they send; sketches
that make requests of their own send less. Every header is optional, and has to be well formed if it is there. Only a
client certificate is an identity.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ..chips.families import AGENTS, FAMILIES, PREFIXES
from ..errors import InputError
from ..image.manifest import ANY_BOARD
from ..names import NAME
from ..release.records import running_version

MAX_PATH = 256
MAX_HEADERS = 64
CACHED_HEADERS, CACHED_ROUTES = 4096, 256
MAX_VALUE = 128
"""Bytes of one device header: the longest real one has 64 (a SHA-256); sketches choose the version themselves."""
FILE_NAME = "firmware.bin.signed"
ARCHIVE_FILE = "certs.ar.signed"
CERTIFICATE_FILE = "client.crt"
"""The device's own certificate, which it asks for with the headers of `protocol.enrolment`."""

CLAIM_HEADER = "x-otaseal-claim"
"""A secret, which `protocol.enrolment` reads: no message of this module quotes it."""

_LIBRARY = "x-otaseal-"
_MODES = {
    "sketch": "sketch",
    "version": "version",
    **dict.fromkeys(("spiffs", "littlefs", "fs", "filesystem"), "filesystem"),
}


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """What a client claims about itself; None where it says nothing. Sizes in bytes, digests in lower-case hex.

    `family` is one of `chips.families` or "plain" (curl, a browser, our own client); `mode` "sketch", "filesystem" or
    "version"; `mac` the station's, as `AA:BB:CC:DD:EE:FF`. Devices with the OtaSeal library also say their security
    `counter`, the number of the last `error` of an update (0 for none), the SHA-256 of the `certs.ar` they use, and the
    id of their `board`, as in the manifest; and what they can, in words (`capabilities`).
    """

    method: str
    family: str = "plain"
    mode: str = "sketch"
    version: str | None = None
    mac: str | None = None
    sketch_md5: str | None = None
    sketch_sha256: str | None = None
    sketch_size: int | None = None
    free_space: int | None = None
    chip_size: int | None = None
    sdk_version: str | None = None
    counter: int | None = None
    error: int | None = None
    certs: str | None = None
    board: str | None = None
    capabilities: frozenset[str] | None = None

    @property
    def runs(self) -> str | None:
        """What tells which release runs, as in `Release.runs`; None where the client says nothing of it."""
        family = FAMILIES.get(self.family)
        if self.sketch_md5 is None and self.version is not None and family is not None and family.own_room:
            return running_version(self.version)
        return self.sketch_md5


@dataclass(frozen=True)
class Route:
    """What a URL names: the file, and product and channel where it has them."""

    file: str
    product: str | None = None
    channel: str | None = None


@lru_cache(maxsize=CACHED_ROUTES)
def route(path: str) -> Route:
    """Return what a decoded URL path names; raises InputError (answer 404)."""
    if len(path) > MAX_PATH:
        raise InputError(f"a path of {len(path)} characters", f"{MAX_PATH} are the most")
    parts = path.split("/")
    names = parts[1:-1]
    known = parts[:1] == [""] and parts[-1] in (FILE_NAME, ARCHIVE_FILE, CERTIFICATE_FILE)
    if not known or len(names) > 2 or not all(map(NAME.fullmatch, names)):
        raise InputError(f"no firmware at '{path}'", f"ask for /<product>/<channel>/{FILE_NAME}")
    return Route(parts[-1], *names)


def parse_request(method: str, headers: Iterable[tuple[bytes, bytes]]) -> UpdateRequest:
    """Return what `method` and `headers` (as ASGI gives them) claim; raises InputError (answer 400).

    Refused: more than 64 headers, a device header that is too long, not printable, given twice or not of its kind, and
    headers of two families. An empty value says nothing; unknown names are for devices yet to come.
    """
    claims: dict[str, Any] = {}
    families, agent, seen = set(), "plain", set()
    for count, (name, value) in enumerate(headers, 1):
        if count > MAX_HEADERS:
            raise InputError(f"more than {MAX_HEADERS} headers", "send what the core's HTTP update sends, and no more")
        header = _read(name, value) if len(name) + len(value) <= MAX_VALUE else _read.__wrapped__(name, value)
        if header is None:
            continue
        named_agent, key, family, claim, claimed = header
        if named_agent is not None:
            agent = named_agent
            continue
        if key in seen:
            shown = name.lower().decode("latin-1")[:MAX_VALUE]
            raise InputError(f"header '{shown}' is given twice", "send each device header once")
        seen.add(key)
        if family is not None:
            families.add(family)
        if claim is not None:
            claims[claim] = claimed
    base = claims.pop(_BASE_MAC, None)
    if base is not None:
        claims.setdefault("mac", base)
    if len(families) > 1:
        raise InputError(f"headers of {' and '.join(sorted(families))} devices at once", "send those of one device")
    return UpdateRequest(method=method, family=families.pop() if families else agent, **claims)


def device_id(mac: str | None, certificate_name: str | None) -> str | None:
    """Return `cert:<name>`, else `mac:<MAC>` as a claim, None for a client that says neither (F28)."""
    if certificate_name:
        return f"cert:{certificate_name}"
    return f"mac:{mac}" if mac else None


class _HeaderClaims(NamedTuple):
    """What one header says: the `agent`'s family, else its `key` (prefix and name), `family` and claim."""

    agent: str | None = None
    key: tuple[str, str] | None = None
    family: str | None = None
    claim: str | None = None
    value: object = None


@lru_cache(maxsize=CACHED_HEADERS)
def _read(raw_name: bytes, raw_value: bytes) -> _HeaderClaims | None:
    """Return what a header claims, None for nothing; cached, because a fleet sends the same headers all day."""
    name = raw_name.lower().decode("latin-1")
    if name == "user-agent":
        agent = AGENTS.get(raw_value[:MAX_VALUE].lower().decode("latin-1"))
        return None if agent is None else _HeaderClaims(agent)
    prefix = next((prefix for prefix in (_LIBRARY, *PREFIXES) if name.startswith(prefix)), None)
    if prefix is None or name == CLAIM_HEADER:
        return None
    short = name.removeprefix(prefix)
    text = _text(name, raw_value)
    table = _LIBRARY_CLAIMS if prefix == _LIBRARY else _CLAIMS
    claim = table.get(short) if text else None
    header = _HeaderClaims(key=(prefix, short), family=PREFIXES.get(prefix))
    if claim is None:
        return header
    with contextlib.suppress(ValueError):
        if claim.pattern.fullmatch(text):
            return header._replace(claim=claim.field, value=claim.value(text))
    raise _not_a(name, text, claim.kind)


def _text(name: str, value: bytes) -> str:
    if len(value) > MAX_VALUE:
        raise InputError(f"header '{name[:MAX_VALUE]}' has {len(value)} bytes", f"send at most {MAX_VALUE}")
    text = value.decode("utf-8", "replace").strip()
    if not text.isprintable():
        raise _not_a(name, text, "printable text")
    return text


def _not_a(name: str, text: str, kind: str) -> InputError:
    return InputError(f"header '{name}' is '{text}', not {kind}", "send what the core's HTTP update sends")


def _32_bits(text: str) -> int:
    if int(text) > 0xFFFFFFFF:
        raise ValueError(text)
    return int(text)


def _named_board(text: str) -> str | None:
    return None if text == ANY_BOARD.hex() else text.lower()


def _words(text: str) -> frozenset[str]:
    """Return the words that are known to mean something in this version; those of another one may not."""
    version, *words = text.split(" ")
    return frozenset(words if version == "1" else ())


class _Claim(NamedTuple):
    """How a header is read: the field of UpdateRequest, the value of a text that matches, the pattern, what it is."""

    field: str
    value: Callable[[str], object] = str
    pattern: re.Pattern[str] = re.compile(".*")
    kind: str = "printable text"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII | re.IGNORECASE)


_NUMBER = _32_bits, _pattern("[0-9]{1,10}"), "a 32-bit number"
_MD5 = str.lower, _pattern("[0-9a-f]{32}"), "32 hex digits"
_SHA256 = str.lower, _pattern("[0-9a-f]{64}"), "64 hex digits"
_MAC = (
    lambda text: text.upper().replace("-", ":"),
    _pattern("[0-9A-F]{2}([:-][0-9A-F]{2}){5}"),
    "a MAC address",
)
_BASE_MAC = "base_mac"
"""Claim of a chip's own address: it names a device that has no station, as an ESP32 without Wi-Fi (F90)."""
_BOARD = _named_board, _pattern("[0-9a-f]{16}"), "16 hex digits"
_CLAIMS = {
    "mode": _Claim("mode", lambda text: _MODES[text.lower()], _pattern("|".join(_MODES)), "an update mode"),
    "version": _Claim("version"),
    "sta-mac": _Claim("mac", *_MAC),
    "base-mac": _Claim(_BASE_MAC, *_MAC),
    "sketch-md5": _Claim("sketch_md5", *_MD5),
    "sketch-sha256": _Claim("sketch_sha256", *_SHA256),
    "sketch-size": _Claim("sketch_size", *_NUMBER),
    "free-space": _Claim("free_space", *_NUMBER),
    "chip-size": _Claim("chip_size", *_NUMBER),
    "sdk-version": _Claim("sdk_version"),
}
"""By the header's name without its prefix; chip-id and ap-mac are not needed."""
_LIBRARY_CLAIMS = {
    "counter": _Claim("counter", *_NUMBER),
    "error": _Claim("error", int, _pattern("-?[0-9]{1,5}"), "an error number"),
    "certs": _Claim("certs", *_SHA256),
    "board": _Claim("board", *_BOARD),
    "capabilities": _Claim("capabilities", _words, _pattern("[0-9]{1,5}( [0-9a-z-]+)*"), "a version and words"),
}
