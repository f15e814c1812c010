"""From a project's files and its server to a scene that can be played: what runs now, what trusts whom, who answers.

What a build knows better than platformio.ini, as the flash layout, is passed in. What is missing is named in the
scene's notes, so that a rehearsal never looks more complete than it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import files
from ..client.client import Client
from ..errors import ConfigError, InputError, OtasealError
from ..image.firmware import read as read_firmware
from ..image.signed_image import MAX_IMAGE_SIZE
from ..keys import public
from ..pki.certificate import parse_certificates
from ..release import records
from ..release.records import Release
from ..simulator.certstore import CertStore
from ..simulator.device import Device
from ..simulator.filesystem import mount, write_file
from ..simulator.firmware import read
from ..simulator.flash import LAYOUTS, Layout
from ..simulator.tls import ClientCertificate
from .candidate import Candidate
from .play import ARCHIVE, Scene

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Choices", "Materials", "Remote", "flash_layout", "prepare", "remote_state", "with_trust"]

NO_TRUST = "what devices trust, and so the live server's chain: there is neither a filesystem image nor an archive"
MAX_FILESYSTEM = 16 * 1024 * 1024
MAX_AUTHORITY = 256 * 1024
LITTLEFS = "littlefs-python"
DEFAULT_LAYOUTS = {512: "512k32", 1024: "1m64", 2048: "2m256", 4096: "4m2m", 8192: "8m6m", 16384: "16m14m"}
"""KiB of flash to the layout that is assumed where nothing names one: the platform's own choice for most boards."""


@dataclass(frozen=True)
class Materials:
    """The files: the image of the `filesystem`, else the bytes of its `archive`, else the `authority` of operators.

    `layout` is the build's own, None where only the sizes can tell.
    """

    candidate: Candidate
    filesystem: Path | None = None
    archive: bytes | None = field(default=None, repr=False)
    authority: Path | None = None
    layout: Layout | None = None


@dataclass(frozen=True)
class Choices:
    """What a person chose: `core`, `flash_mode` (0 to 3) and `clock` of the device; None: as the firmware and now.

    With `unset_clock` the device's clock stands at 1970, as before it has asked anybody.

    `old` is the image that devices run now, `client` the device's certificate and key, `url` where devices ask.
    """

    core: str | None = None
    flash_mode: int | None = None
    clock: datetime | None = None
    old: Path | None = None
    client: tuple[Path, Path] | None = None
    url: str | None = None
    polls: int = 2
    unset_clock: bool = False


@dataclass(frozen=True)
class Remote:
    """What the update server told an operator: the devices' `url`, its keys and releases, and the one given out now."""

    url: str | None = None
    keys: tuple[RSAPublicKey, ...] = field(default=(), repr=False)
    known: tuple[Release, ...] = field(default=(), repr=False)
    current: bytes | None = field(default=None, repr=False)
    wants_certificates: bool = False


def remote_state(client: Client, product: str, channel: str, state: Mapping[str, Any] | None = None) -> Remote:
    """Ask the server what a device of `product` and `channel` would meet; raises what the client raises.

    `state` is the channel's, where it was asked for before.
    """
    state = state or client.state(product, channel)
    listed = client.get(f"/v1/products/{quote(product, safe='')}/releases")
    known = tuple(records.from_json(document) for document in listed["releases"])
    current = state["current"]
    host = f"[{client.host}]" if ":" in client.host else client.host
    port = state.get("device_port")
    return Remote(
        url=f"https://{host}:{port}/{product}/{channel}/firmware.bin.signed" if port else None,
        keys=_keys(state["keys"]),
        known=known,
        current=None if current is None else client.firmware(product, current["version"]),
        wants_certificates=bool(state.get("device_certificates")),
    )


def prepare(materials: Materials, choices: Choices, remote: Remote | None = None) -> Scene:
    """Return the scene of these files and choices; with `remote`, at the live server.

    Raises InputError and ConfigError for files and choices that cannot be rehearsed.
    """
    candidate, notes = materials.candidate, []
    if remote is not None and remote.keys:
        candidate = replace(candidate, keys=remote.keys)
    old, said = _running(candidate, choices, remote)
    notes += said
    layout, said = flash_layout(old, materials.filesystem, materials.layout)
    notes += said
    if not candidate.keys:
        candidate = replace(candidate, keys=_keys_in(old))
    clock = None if choices.unset_clock else choices.clock or datetime.now(timezone.utc)
    device = Device.provision(old, layout, core=choices.core, flash_mode=choices.flash_mode)
    device = replace(device, clock=clock)
    if choices.client is not None:
        device = replace(device, client=_certificate(choices.client))
    device, lacking = with_trust(device, materials.filesystem, materials.archive, materials.authority)
    url = choices.url or (None if remote is None else remote.url)
    if url is not None and remote is not None and remote.wants_certificates and device.client is None:
        url = None
        lacking.append("the live server's TLS: it asks devices for a certificate, and --device-cert gives none")
    if NO_TRUST in lacking:
        url = None
    notes += _clock_notes(choices, device, url)
    known = () if remote is None else remote.known
    return Scene(candidate, device, url, known, choices.polls, tuple(notes), tuple(lacking))


def _clock_notes(choices: Choices, device: Device, url: str | None) -> list[str]:
    """Return where the clock that was chosen is not the one that decides, or decides nothing."""
    if device.time != device.clock and (choices.clock is not None or choices.unset_clock):
        return [f"the chosen clock: the OtaSeal library takes no time before its build's, {device.time:%Y-%m-%d %H:%M}"]
    if choices.clock is not None and url is None:
        return ["the chosen clock: only a live server's certificates depend on it, and none is met"]
    return []


def _running(candidate: Candidate, choices: Choices, remote: Remote | None) -> tuple[bytes, list[str]]:
    """Return the image that the device runs before the update: named, given out now, or a twin of the new one."""
    if choices.old is not None:
        return read_firmware(files.read_bounded(choices.old, MAX_IMAGE_SIZE, "old firmware")).sketch, []
    new = candidate.raw
    if remote is not None and remote.current is not None:
        current = read_firmware(remote.current).sketch
        if current != new:
            return current, []
    return candidate.twin, ["what devices run now: a twin of this build stood for it; name it with --from OLD.bin"]


def flash_layout(firmware: bytes, filesystem: Path | None, named: Layout | None) -> tuple[Layout, list[str]]:
    """Return the flash layout of a device with this firmware, and what was assumed for it.

    It is the one that was `named`, else the one with a filesystem of the image's size.
    """
    if named is not None:
        return named, []
    flash_size = read(firmware).flash_size
    if filesystem is not None:
        if not filesystem.is_file():
            raise InputError(f"filesystem image '{filesystem}' is not a file", "pio run -t buildfs makes it")
        size = filesystem.stat().st_size
        for layout in LAYOUTS.values():
            if layout.flash_size == flash_size and layout.fs_size == size:
                return layout, []
    name = DEFAULT_LAYOUTS.get(flash_size // 1024)
    if name is None:
        raise ConfigError(f"no flash layout fits a chip of {flash_size} bytes", "name it with --layout, as in 4m2m")
    return LAYOUTS[name], [f"the flash layout: '{name}' was assumed; name it with --layout"]


def with_trust(
    device: Device, filesystem: Path | None, archive: bytes | None, authority: Path | None
) -> tuple[Device, list[str]]:
    """Return the device with its filesystem, or with what stands for it, and what is not rehearsed for it.

    The image of a filesystem comes first, then the bytes of an archive, then the file of an authority.
    """
    can_mount = find_spec("littlefs") is not None
    if filesystem is not None and can_mount:
        content = files.read_bounded(filesystem, MAX_FILESYSTEM, "filesystem image")
        layout = device.layout
        if len(content) > layout.fs_size:
            raise InputError(
                f"'{filesystem}' has {len(content)} bytes, the partition of '{layout.name}' {layout.fs_size}",
                "name the layout that it was built for with --layout, or build it again",
            )
        flash = device.flash[: layout.fs_start] + content + device.flash[layout.fs_start + len(content) :]
        return replace(device, flash=flash), []
    missing = f"the filesystem: '{LITTLEFS}' is not installed" if not can_mount else ""
    if archive is not None:
        if can_mount and device.layout.fs_size:
            flash = mount(device.flash, device.layout).flash
            made = write_file(flash, device.layout, ARCHIVE, archive)
            if made is not None:
                note = "the filesystem image, which is not built yet: the certificates were put into an empty one"
                return replace(device, flash=made), [note]
        anchors = tuple(entry.member for entry in CertStore.load(archive).entries)
        return replace(device, anchors=anchors), [missing or "the filesystem: the layout has none"]
    if authority is not None:
        found = parse_certificates(files.read_bounded(authority, MAX_AUTHORITY, "authority"))
        note = f"the filesystem: the authority '{authority.name}' stood for what devices trust"
        return replace(device, anchors=tuple(certificate.der for certificate in found)), [
            note,
            *([missing] if missing else []),
        ]
    return replace(device, anchors=()), [NO_TRUST]


def _keys_in(firmware: bytes) -> tuple[RSAPublicKey, ...]:
    """Return the keys that the device itself would verify with; what no device can use is left to the device to say."""
    found = []
    for pem in read(firmware).keys:
        try:
            found.append(public.load_public_key(pem, "the firmware's key"))
        except OtasealError:
            continue
    return tuple(found)


def _keys(listed: Mapping[str, Any]) -> tuple[RSAPublicKey, ...]:
    found = ((name, pem.encode()) for name, pem in listed.items())
    return tuple(public.load_public_key(pem, f"the server's key '{name}'") for name, pem in found)


def _certificate(paths: tuple[Path, Path]) -> ClientCertificate:
    chain = files.read_bounded(paths[0], MAX_AUTHORITY, "device certificate")
    return ClientCertificate(chain, files.read_bounded(paths[1], MAX_AUTHORITY, "device key"))
