"""Build a scenario from a project's files and its server: the running firmware, the device's trust, the live server.

What the build knows better than platformio.ini, such as the flash layout, is passed in. Whatever is missing or assumed
is noted in the scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..client.client import Client, product_path
from ..errors import InputError, OtasealError
from ..image.firmware import read as read_firmware
from ..keys import public
from ..pki.certificate import parse_certificates
from ..release import record_json
from ..release.records import Release
from ..simulator.certstore import ARCHIVE, CertStore
from ..simulator.device import Device
from ..simulator.esp32.device import Esp32Device
from ..simulator.esp32.table import Table
from ..simulator.filesystem import mount, mounted, write_file
from ..simulator.firmware import keys_in
from ..simulator.flash import DiskFormat, Layout
from ..simulator.pico.device import PicoDevice
from ..simulator.tls import ClientCertificate
from . import patches
from .boards import board
from .candidate import BEFORE, Candidate
from .scenario import Scenario

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

NO_TRUST = "what devices trust, and so the live server's chain: there is neither a filesystem image nor an archive"
MAX_FILESYSTEM = 16 * 1024 * 1024
MAX_AUTHORITY = 256 * 1024
LITTLEFS = "littlefs-python"


@dataclass(frozen=True)
class Inputs:
    """The files: the image of the `filesystem`, else the bytes of its `archive`, else the `authority` of operators.

    `layout` is the build's own, of an ESP32 its partition table; None where only the sizes can tell.
    """

    candidate: Candidate
    filesystem: Path | None = None
    archive: bytes | None = field(default=None, repr=False)
    authority: Path | None = None
    layout: Layout | Table | None = None


@dataclass(frozen=True)
class DeviceOptions:
    """Options of the rehearsal: `core`, `flash_mode` (0 to 3) and `clock` of the device; None: as the firmware and now.

    With `unset_clock` the device's clock stands at 1970, as before it has asked anybody. `old` is the image that
    devices run now, `client` the device's certificate and key, `url` where devices ask.
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
    """What the update server told an operator: the devices' `url`, its keys and releases, and the one given out now.

    `version` is that one's.
    """

    url: str | None = None
    keys: tuple[RSAPublicKey, ...] = field(default=(), repr=False)
    known: tuple[Release, ...] = field(default=(), repr=False)
    current: bytes | None = field(default=None, repr=False)
    version: str = ""
    wants_certificates: bool = False


def remote_state(
    client: Client,
    product: str,
    channel: str,
    state: Mapping[str, Any] | None = None,
    board: str | None = None,
) -> Remote:
    """Ask the server what a device of `product` and `channel` would meet; raises what the client raises.

    `state` is the channel's, where it was asked for before; `board` the device's `board_key`.
    """
    state = state or client.state(product, channel)
    listed = client.get(product_path(product, "releases"))
    known = tuple(record_json.from_json(document) for document in listed["releases"])
    current = None if state["current"] is None else record_json.from_json(state["current"]).for_board(board)
    host = f"[{client.host}]" if ":" in client.host else client.host
    port = state.get("device_port")
    return Remote(
        url=f"https://{host}:{port}/{product}/{channel}/firmware.bin.signed" if port else None,
        keys=tuple(
            public.load_public_key(pem.encode(), f"the server's key '{name}'") for name, pem in state["keys"].items()
        ),
        known=known,
        current=None if current is None else client.firmware(current),
        version="" if current is None else current.version,
        wants_certificates=bool(state.get("device_certificates")),
    )


def prepare(inputs: Inputs, options: DeviceOptions, remote: Remote | None = None) -> Scenario:
    """Return the scenario of these files and options; with `remote`, at the live server.

    Raises InputError and ConfigError for files and options that cannot be rehearsed.
    """
    candidate, remote = inputs.candidate, remote or Remote()
    old, version, notes = _running(candidate, options, remote)
    candidate = replace(candidate, keys=remote.keys or candidate.keys or _keys_in(old))
    clock = None if options.unset_clock else options.clock or datetime.now(timezone.utc)
    device, assumed = board(old, inputs.filesystem, inputs.layout, options.core, options.flash_mode)
    if isinstance(device, PicoDevice):  # it is known by what it says (F57), and else by its MD5
        device = replace(device, version=version or device.version)
    device = replace(device, clock=clock, client=None if options.client is None else _certificate(*options.client))
    device, lacking = with_trust(device, inputs.filesystem, inputs.archive, inputs.authority)
    device = replace(device, decoder=patches.decoded)
    patch, unmade = (None, []) if notes or candidate.refusal else patches.for_device(device, candidate.forms)
    url = options.url or remote.url
    if url is not None and remote.wants_certificates and device.client is None:
        url = None
        lacking.append("the live server's TLS: it asks devices for a certificate, and --device-cert gives none")
    if NO_TRUST in lacking:
        url = None
    return Scenario(
        candidate,
        device,
        url,
        known=remote.known,
        polls=options.polls,
        unknown=remote.current is None or bool(notes),  # a twin runs what no server knows
        patch=patch,
        notes=(*notes, *assumed, *unmade, *_clock_notes(options, device, url)),
        lacking=tuple(lacking),
    )


def _clock_notes(options: DeviceOptions, device: Device, url: str | None) -> list[str]:
    """Return a note where the clock option is overruled by the library, or has no effect."""
    if device.time != device.clock and (options.clock is not None or options.unset_clock):
        return [f"the chosen clock: the OtaSeal library takes no time before its build's, {device.time:%Y-%m-%d %H:%M}"]
    if options.clock is not None and url is None:
        return ["the chosen clock: only a live server's certificates depend on it, and none is met"]
    return []


def _running(candidate: Candidate, options: DeviceOptions, remote: Remote) -> tuple[bytes, str, list[str]]:
    """Return the image that the device runs before the update: named, given out now, or a twin of the new one.

    And its version, "" where only the image can tell it.
    """
    if options.old is not None:
        return read_firmware(files.read_bounded(options.old, MAX_IMAGE_SIZE, "old firmware")).sketch, "", []
    current = None if remote.current is None else read_firmware(remote.current).sketch
    if current is not None and current != candidate.raw:
        return current, remote.version, []
    note = "what devices run now: a twin of this build stood for it; name it with --from OLD.bin"
    return candidate.twin, f"{candidate.origin.version}{BEFORE}", [note]


def with_trust(
    device: Device, filesystem: Path | None, archive: bytes | None, authority: Path | None
) -> tuple[Device, list[str]]:
    """Return the device with its filesystem, or with what stands for it, and what is not rehearsed for it.

    The image of a filesystem comes first, then the bytes of an archive, then the file of an authority.
    """
    can_mount = find_spec("littlefs") is not None
    note = "the filesystem image, which is not built yet: the certificates were put into an empty one"
    if filesystem is not None and can_mount and archive is not None and _other_filesystem(device, filesystem):
        note = "the filesystem image, which is not LittleFS: the certificates were put into one that is"
        filesystem = None
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
    lacking = [] if can_mount else [f"the filesystem: '{LITTLEFS}' is not installed"]
    if archive is not None:
        if can_mount and device.layout.fs_size:
            written = write_file(mount(device.flash, device.layout).flash, device.layout, ARCHIVE, archive)
            if written is not None:
                return replace(device, flash=written), [note]
        anchors = tuple(entry.member for entry in CertStore.load(archive).entries)
        return replace(device, anchors=anchors), lacking or ["the filesystem: the layout has none"]
    if authority is not None:
        certificates = parse_certificates(files.read_bounded(authority, MAX_AUTHORITY, "authority"))
        note = f"the filesystem: the authority '{authority.name}' stood for what devices trust"
        return replace(device, anchors=tuple(certificate.der for certificate in certificates)), [note, *lacking]
    return replace(device, anchors=()), [NO_TRUST]


def _other_filesystem(device: Device, image: Path) -> bool:
    """Tell whether an ESP32's filesystem is SPIFFS or FAT, which the library knows and the virtual device does not."""
    content = files.read_bounded(image, MAX_FILESYSTEM, "filesystem image")
    return isinstance(device, Esp32Device) and mounted(content, device.layout, DiskFormat(0, 0), blocks=0) is None


def _keys_in(firmware: bytes) -> tuple[RSAPublicKey, ...]:
    """Return the keys that the device verifies with, without those that no device can use."""
    keys = []
    for pem in keys_in(firmware):
        with suppress(OtasealError):
            keys.append(public.load_public_key(pem, "the firmware's key"))
    return tuple(keys)


def _certificate(chain: Path, key: Path) -> ClientCertificate:
    return ClientCertificate(
        chain=files.read_bounded(chain, MAX_AUTHORITY, "device certificate"),
        key=files.read_bounded(key, MAX_AUTHORITY, "device key"),
    )
