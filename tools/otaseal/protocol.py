"""What a device asks and what it is answered: an update request in, a decision out, by a table (F28-F30)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import InputError
from .esp8266 import FlashMode
from .release import Form, Release

__all__ = ["Decision", "Running", "State", "UpdateRequest", "decide", "device_id", "known_images", "parse_request", "route"]

LOOP_LIMIT = 3


@dataclass(frozen=True)
class UpdateRequest:
    """What a client claims about itself; None where it says nothing. Sizes in bytes, digests in lower-case hex.

    `family` is "esp8266", "pico", "esp32" or "plain" (curl, a browser, our own client); `mode` "sketch", "filesystem"
    or "version"; `mac` the station's, as `AA:BB:CC:DD:EE:FF`.
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


@dataclass(frozen=True)
class Running:
    """What a device runs, told by its sketch MD5: the release, and the flash mode of the chip (F7, F30b)."""

    release: Release
    flash_mode: FlashMode


@dataclass(frozen=True)
class State:
    """What the server knows beside the request.

    `known` is `known_images()` of the product's releases. `deliveries` counts how often this release was delivered in
    full to this device since its sketch MD5 last changed. `held` is set while a rollout has not reached this device,
    `missing` names what the URL asked for in vain ("product", "channel" or "release") when there is no release.
    """

    known: Mapping[str, Running] = field(default_factory=dict)
    deliveries: int = 0
    held: bool = False
    missing: str = "release"


@dataclass(frozen=True)
class Decision:
    """The answer: `form` is what to send (None: send `body`), `headers` all that belong to it, in order.

    `code` is one word for logs and metrics, `reason` a sentence; `alarm` calls for a person.
    """

    status: int
    form: Form | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    code: str
    reason: str
    alarm: bool = False


def known_images(releases: Iterable[Release]) -> dict[str, Running]:
    """Return every sketch MD5 that a device with one of `releases` can report, and what it tells (F30b)."""
    raise NotImplementedError


def route(path: str) -> tuple[str | None, str | None]:
    """Return product and channel of a decoded URL path, None where it names none; raises InputError (answer 404)."""
    raise NotImplementedError


def parse_request(method: str, headers: Iterable[tuple[bytes, bytes]]) -> UpdateRequest:
    """Return what `method` and `headers` (as ASGI gives them) claim; raises InputError (answer 400)."""
    raise NotImplementedError


def device_id(request: UpdateRequest, certificate_name: str | None) -> str | None:
    """Return `cert:<name>`, else `mac:<MAC>` as a claim, None for a client that says neither (F28)."""
    raise NotImplementedError


def decide(request: UpdateRequest, release: Release | None, state: State) -> Decision:
    """Return the answer to `request` for the `release` that its URL and rollout lead to; never raises."""
    raise NotImplementedError
