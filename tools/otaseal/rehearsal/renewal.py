"""A rehearsal of new certificates: a device of the channel takes the archive that is about to be published.

It runs what the channel gives out, meets the live server with the certificates that it has, and is given the new
archive in the place of the server's answer, by the server's own rules. It holds it against the live server, as the
library does before it keeps it, and asks for firmware with nothing else to trust. The server is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
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
from ..simulator.device import Device, Outcome
from ..simulator.filesystem import mount
from ..simulator.firmware import read
from ..simulator.flash import Layout
from ..simulator.report import Result
from .loopback import parse_head, response
from .play import NOBODY, meeting
from .report import Act, Line, Report, lines
from .setup import LITTLEFS, Remote, flash_layout, remote_state, with_trust

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Renewal", "rehearse"]

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


@dataclass(frozen=True)
class _Answers:
    """What the server will say once the archive is published: its own decision on what a device asks."""

    signed: bytes = field(repr=False)
    record: ArchiveRecord

    def __call__(self, request: bytes) -> bytes:
        asked = parse_head(request)
        decision = archive.decide(decisions.parse_request(asked.method, asked.headers), self.record, "archive")
        return response(decision.status, decision.headers, decision.body if decision.blob is None else self.signed)


def rehearse(client: Client, renewal: Renewal) -> Report:
    """Return what becomes of the archive; raises what the client raises, InputError for files that cannot be used."""
    now = datetime.now(timezone.utc)
    remote = remote_state(client, renewal.product, renewal.channel)
    current = _current(client, renewal, remote.keys)
    admitted, record = _admission(renewal, remote, current, now)
    if record is None:
        return Report((admitted,), (), OPEN)
    device, notes, lacking = _device(renewal, remote, current, now)
    if device is None:
        return Report((admitted,), (), OPEN, tuple(lacking))
    acts = [admitted]
    if remote.url is None:
        lacking.append(NO_ADDRESS)
    elif remote.wants_certificates:
        lacking.append(WANTS_CERTIFICATE)
    else:
        acts += _acts(device, remote.url, _Answers(renewal.signed, record))
    return Report(tuple(acts), (), (*notes, *OPEN), tuple(lacking))


def _current(client: Client, renewal: Renewal, keys: Sequence[RSAPublicKey]) -> bytes | None:
    """Return the signed archive that the channel gives out, None for one that no key of the product has signed."""
    path = f"/v1/products/{quote(renewal.product, safe='')}?{urlencode({'channel': renewal.channel})}"
    found = archives.current_archive(client, client.get(path), renewal.product, renewal.channel)
    if found is not None:
        with suppress(OtasealError):
            signed_archive.read(found, keys)
            return found
    return None


def _admission(
    renewal: Renewal, remote: Remote, current: bytes | None, now: datetime
) -> tuple[Act, ArchiveRecord | None]:
    """Judge the archive as the server will, but for the chain that it shows: the device looks at that itself."""
    title, size = "the update server admits the archive", f"{len(renewal.signed)} bytes"
    before: ArchiveRecord | None = None
    if current is not None:
        with suppress(OtasealError):  # what is out there already is not judged here
            before = signed_archive.admit(current, renewal.product, remote.keys, None, None, now)
    try:
        record = signed_archive.admit(renewal.signed, renewal.product, remote.keys, before, None, now)
    except OtasealError as error:
        return Act(title, (Line("admission", size, False, reason=error.message, fix=error.hint),)), None
    return Act(title, (Line("admission", f"{size}: {counted(record.certificates, 'certificate')}"),)), record


def _device(
    renewal: Renewal, remote: Remote, current: bytes | None, now: datetime
) -> tuple[Device | None, Sequence[str], list[str]]:
    """Return a device of the channel, or None; what was assumed for it, and what is not rehearsed."""
    if find_spec("littlefs") is None:
        return None, (), [NO_MOUNT]
    candidates = _known_firmware(renewal, remote)
    firmware, note = next(
        (candidate for candidate in candidates if read(candidate[0]).identity is not None), (None, "")
    )
    if firmware is None:
        return None, (), [NO_LIBRARY]
    layout, notes = flash_layout(firmware, None, renewal.layout)
    device = replace(Device.provision(firmware, layout), clock=now, mac=NOBODY)
    device, lacking = _trusting(device, renewal, remote, current)
    return device, (*notes, *([note] if note else [])), lacking


def _trusting(device: Device, renewal: Renewal, remote: Remote, current: bytes | None) -> tuple[Device, list[str]]:
    """Return the device with the archive that the channel gives out, else with what the new one has, compiled in."""
    if current is not None:
        held, _ = with_trust(device, None, signed_archive.read(current, remote.keys).archive, None)
        return held, []
    new = signed_archive.read(renewal.signed, remote.keys).archive
    anchors = tuple(entry.member for entry in CertStore.load(new).entries)
    return replace(device, flash=mount(device.flash, device.layout).flash, anchors=anchors), [SAME_TRUST]


def _known_firmware(renewal: Renewal, remote: Remote) -> list[tuple[bytes, str]]:
    """Return the images that a device of the channel may run, the likeliest first, each with what it assumes."""
    given_out = [] if remote.current is None else [(read_firmware(remote.current).sketch, "")]
    return [*given_out, *([] if renewal.firmware is None else [(read_firmware(renewal.firmware).sketch, OWN_BUILD)])]


def _acts(device: Device, firmware_url: str, answers: _Answers) -> list[Act]:
    url = firmware_url.removesuffix(FIRMWARE_FILE) + ARCHIVE_FILE
    taken = device.renew_certificates(url, answer=answers)
    acts = [Act(f"a device takes the certificates, as it meets the live server: {url}", lines(taken.steps))]
    if not taken.ok:
        return acts
    renewed = replace(taken.device, anchors=None)  # from now on by the filesystem alone
    again = renewed.renew_certificates(url, answer=answers)
    acts.append(Act("poll 2: it is told that it has them", (*lines(again.steps), *_loop(again))))
    act, _ = meeting(renewed, firmware_url, lambda _: True)
    return [*acts, replace(act, title=f"with the new certificates alone, it asks for firmware: {firmware_url}")]


def _loop(again: Outcome) -> tuple[Line, ...]:
    if again.result is not Result.UPDATED:
        return ()
    reason = "the device is given the same archive again, and would renew it for ever"
    return (Line("loop", "poll 2", False, reason=reason, fix="report this: the server compares the wrong digest"),)
