"""Rehearse a certificate archive before it is published, on a device of the channel.

The device runs what the channel gives out, connects to the live server with its present certificates, and receives the
new archive in place of the server's answer. It tries the archive against the live server, as the library does before it
keeps one, then asks for firmware trusting nothing else. The server is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ..client import archives
from ..client.client import Client
from ..errors import OtasealError, counted
from ..image.firmware import read as read_firmware
from ..protocol import archive, decisions
from ..protocol.request import ARCHIVE_FILE
from ..release import signed_archive
from ..release.archive_record import ArchiveRecord
from ..simulator.certstore import CertStore
from ..simulator.device import Device
from ..simulator.filesystem import mount
from ..simulator.firmware import identity_in
from ..simulator.flash import Layout
from ..simulator.report import Outcome, Result, Step
from .advice import explained
from .boards import board
from .loopback import parse_head, response
from .report import Phase, Report
from .scenario import NO_MAC, poll_live
from .setup import LITTLEFS, Remote, remote_state, with_trust

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Renewal", "before_renewing"]

NO_LIBRARY = (
    "the devices: no firmware with the OtaSeal library is known here, and none without it asks for certificates"
)
NO_MOUNT = f"the devices: '{LITTLEFS}' is not installed, and certificates live in a filesystem"
WANTS_CERTIFICATE = "the live server: it asks devices for a certificate, and none is known here"
NO_ADDRESS = "the live server: it does not say where devices ask"
OWN_BUILD = "what devices run now: the project's last build stood for it"
SAME_TRUST = "what devices trust now: the new certificates stood for it"
OPEN = ("devices that have other firmware or other certificates than this one", "power cuts and the radio")
FIRMWARE_FILE = "firmware.bin.signed"


@dataclass(frozen=True)
class Renewal:
    """A `signed` archive for a channel; `firmware` is what the project built, for a channel that gives out none.

    `layout` is the build's own, None where only the sizes can tell.
    """

    signed: bytes = field(repr=False)
    product: str
    channel: str
    firmware: bytes | None = field(default=None, repr=False)
    layout: Layout | None = None


def before_renewing(client: Client, renewal: Renewal) -> Report:
    """Rehearse certificates that are about to be published; the server is looked at and not changed.

    Raises what the client raises, InputError for files that cannot be used.
    """
    now = datetime.now(timezone.utc)
    remote = remote_state(client, renewal.product, renewal.channel)
    current = _current(client, renewal, remote.keys)
    admission, record = _admission(renewal, remote, current, now)
    if record is None:
        return Report((admission,), unchecked=OPEN)
    device, notes, lacking = _device(renewal, remote, current, now)
    if device is None:
        return Report((admission,), unchecked=OPEN, lacking=tuple(lacking))
    phases = [admission]
    if remote.url is None:
        lacking.append(NO_ADDRESS)
    elif remote.wants_certificates:
        lacking.append(WANTS_CERTIFICATE)
    else:
        phases += _polls(device, remote.url, partial(_answer, renewal.signed, record))
    return Report(tuple(phases), unchecked=(*notes, *OPEN), lacking=tuple(lacking), device=device.chip_name)


def _answer(signed: bytes, record: ArchiveRecord, request: bytes) -> bytes:
    """Return the server's response to `request` once the archive is published, by its own decision."""
    parsed = parse_head(request)
    decision = archive.decide(decisions.parse_request(parsed.method, parsed.headers), record, "archive")
    return response(decision.status, decision.headers, decision.body if decision.blob is None else signed)


def _current(client: Client, renewal: Renewal, keys: Sequence[RSAPublicKey]) -> bytes | None:
    """Return the signed archive that the channel gives out, None for one that no key of the product has signed."""
    path = f"/v1/products/{quote(renewal.product, safe='')}?{urlencode({'channel': renewal.channel})}"
    current = archives.current_archive(client, client.get(path), renewal.product, renewal.channel)
    if current is not None:
        with suppress(OtasealError):
            signed_archive.read(current, keys)
            return current
    return None


def _admission(
    renewal: Renewal, remote: Remote, current: bytes | None, now: datetime
) -> tuple[Phase, ArchiveRecord | None]:
    """Admit the archive as the server will, except for its own chain, which the device checks later."""
    title, size = "the update server admits the archive", f"{len(renewal.signed)} bytes"
    before: ArchiveRecord | None = None
    if current is not None:
        with suppress(OtasealError):  # what is out there already is not judged here
            before = signed_archive.admit(current, renewal.product, remote.keys, None, None, now)
    try:
        record = signed_archive.admit(renewal.signed, renewal.product, remote.keys, before, None, now)
    except OtasealError as error:
        return Phase(title, (Step("admission", size, False, reason=error.message, fix=error.hint),)), None
    return Phase(title, (Step("admission", f"{size}: {counted(record.certificates, 'certificate')}"),)), record


def _device(
    renewal: Renewal, remote: Remote, current: bytes | None, now: datetime
) -> tuple[Device | None, Sequence[str], list[str]]:
    """Return a device of the channel, or None; what was assumed for it, and what is not rehearsed."""
    if find_spec("littlefs") is None:
        return None, (), [NO_MOUNT]
    known = [(remote.current, ()), (renewal.firmware, (OWN_BUILD,))]  # the likeliest first
    images = ((read_firmware(data).sketch, note) for data, note in known if data is not None)
    firmware, note = next((image for image in images if identity_in(image[0]) is not None), (None, ()))
    if firmware is None:
        return None, (), [NO_LIBRARY]
    device, notes = board(firmware, None, renewal.layout)
    device = replace(device, clock=now, mac=NO_MAC)
    device, lacking = _trusting(device, renewal, remote, current)
    return device, (*notes, *note), lacking


def _trusting(device: Device, renewal: Renewal, remote: Remote, current: bytes | None) -> tuple[Device, list[str]]:
    """Return the device with the channel's archive, or without one, trusting the new archive's certificates."""
    if current is not None:
        held, _ = with_trust(device, None, signed_archive.read(current, remote.keys).archive, None)
        return held, []
    new = signed_archive.read(renewal.signed, remote.keys).archive
    anchors = tuple(entry.member for entry in CertStore.load(new).entries)
    return replace(device, flash=mount(device.flash, device.layout).flash, anchors=anchors), [SAME_TRUST]


def _polls(device: Device, firmware_url: str, answer: Callable[[bytes], bytes]) -> list[Phase]:
    url = firmware_url.removesuffix(FIRMWARE_FILE) + ARCHIVE_FILE
    first = device.renew_certificates(url, answer=answer)
    phases = [Phase(f"a device takes the certificates, as it meets the live server: {url}", explained(first.steps))]
    if not first.ok:
        return phases
    renewed = replace(first.device, anchors=None)  # from now on by the filesystem alone
    again = renewed.renew_certificates(url, answer=answer)
    phases.append(Phase("poll 2: it is told that it has them", (*explained(again.steps), *_loop(again))))
    firmware, _ = poll_live(renewed, firmware_url)
    return [*phases, replace(firmware, title=f"with the new certificates alone, it asks for firmware: {firmware_url}")]


def _loop(again: Outcome) -> tuple[Step, ...]:
    if again.result is not Result.UPDATED:
        return ()
    reason = "the device is given the same archive again, and would renew it for ever"
    return (Step("loop", "poll 2", False, reason=reason, fix="report this: the server compares the wrong digest"),)
