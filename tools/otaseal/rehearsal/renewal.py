"""Rehearse a certificate archive before it is published, on a device of the channel.

The device runs what the channel gives out, connects to the live server with its present certificates, and receives the
new archive in place of the server's answer. It tries the archive against the live server, as the library does before it
keeps one, then asks for firmware trusting nothing else. The server is not changed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.util import find_spec

from ..client import archives
from ..client.client import Client
from ..errors import OtasealError, counted
from ..image.firmware import read as read_firmware
from ..protocol.answers import decide_archive
from ..protocol.request import ARCHIVE_FILE, parse_request
from ..release import signed_archive
from ..release.archive_record import ArchiveRecord
from ..simulator.certstore import CertStore
from ..simulator.device import Device
from ..simulator.esp32.table import Table
from ..simulator.filesystem import mount
from ..simulator.firmware import identity_in
from ..simulator.flash import Layout
from ..simulator.report import Result, Step
from .advice import explained
from .boards import board
from .loopback import parse_head, response
from .report import Phase, Report
from .scenario import NO_MAC, poll_live
from .setup import LITTLEFS, remote_state, with_trust

NO_LIBRARY = (
    "the devices: no firmware with the OtaSeal library is known here, and none without it asks for certificates"
)
NO_MOUNT = f"the devices: '{LITTLEFS}' is not installed, and certificates live in a filesystem"
WANTS_CERTIFICATE = "the live server: it asks devices for a certificate, and none is known here"
NO_ADDRESS = "the live server: it does not say where devices ask"
OWN_BUILD = "what devices run now: the project's last build stood for it"
SAME_TRUST = "what devices trust now: the new certificates stood for it"
OPEN = ("devices that have other firmware or other certificates than this one", "power cuts and the radio")
LOOP_FIX = "report this: the server compares the wrong digest"
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
    layout: Layout | Table | None = None


def before_renewing(client: Client, renewal: Renewal) -> Report:
    """Rehearse certificates that are about to be published; the server is looked at and not changed.

    Raises what the client raises, InputError for files that cannot be used.
    """
    return _Rehearsal(client, renewal).run()


class _Rehearsal:
    """One rehearsal; `phases`, `assumed` and `lacking` grow into its report."""

    def __init__(self, client: Client, renewal: Renewal) -> None:
        self.renewal, self.now = renewal, datetime.now(timezone.utc)
        self.remote = remote_state(client, renewal.product, renewal.channel)
        self.current = self._current(client)
        self.phases: list[Phase] = []
        self.assumed: list[str] = []
        self.lacking: list[str] = []

    def run(self) -> Report:
        """Admit the archive, and have a device take it."""
        record = self._admit()
        device = None if record is None else self._device()
        if record is not None and device is not None:
            if self.remote.url is None:
                self.lacking.append(NO_ADDRESS)
            elif self.remote.wants_certificates:
                self.lacking.append(WANTS_CERTIFICATE)
            else:
                self._poll(device, self.remote.url, record)
        report = Report(tuple(self.phases), unchecked=(*self.assumed, *OPEN), lacking=tuple(self.lacking))
        return report if device is None else replace(report, device=device.chip_name)

    def _current(self, client: Client) -> bytes | None:
        """Return the signed archive that the channel gives out, None for one that no key of the product has signed."""
        product, channel = self.renewal.product, self.renewal.channel
        current = archives.current_archive(client, client.state(product, channel), product, channel)
        if current is not None:
            with suppress(OtasealError):
                signed_archive.read(current, self.remote.keys)
                return current
        return None

    def _admit(self) -> ArchiveRecord | None:
        """Admit the archive as the server will, except for its own chain, which the device checks later."""
        signed, product, keys = self.renewal.signed, self.renewal.product, self.remote.keys
        before: ArchiveRecord | None = None
        if self.current is not None:
            with suppress(OtasealError):  # what is out there already is not judged here
                before = signed_archive.admit(self.current, product, keys, None, None, self.now)
        record, size = None, f"{len(signed)} bytes"
        try:
            record = signed_archive.admit(signed, product, keys, before, None, self.now)
            step = Step("admission", f"{size}: {counted(record.certificates, 'certificate')}")
        except OtasealError as error:
            step = Step("admission", size, False, reason=error.message, fix=error.hint)
        self.phases.append(Phase("the update server admits the archive", (step,)))
        return record

    def _device(self) -> Device | None:
        """Return a device of the channel, None where the rehearsal can have none."""
        if find_spec("littlefs") is None:
            self.lacking.append(NO_MOUNT)
            return None
        known = [(self.remote.current, []), (self.renewal.firmware, [OWN_BUILD])]  # the likeliest first
        images = ((read_firmware(data).sketch, note) for data, note in known if data is not None)
        firmware, note = next((image for image in images if identity_in(image[0]) is not None), (None, []))
        if firmware is None:
            self.lacking.append(NO_LIBRARY)
            return None
        device, notes = board(firmware, None, self.renewal.layout)
        self.assumed += [*notes, *note]
        device = replace(device, clock=self.now, mac=NO_MAC)
        archive = signed_archive.read(self.current or self.renewal.signed, self.remote.keys).archive
        if self.current is not None:
            return with_trust(device, None, archive, None)[0]
        self.lacking.append(SAME_TRUST)
        anchors = tuple(entry.member for entry in CertStore.load(archive).entries)
        return replace(device, flash=mount(device.flash, device.layout).flash, anchors=anchors)

    def _poll(self, device: Device, firmware_url: str, record: ArchiveRecord) -> None:
        """Take the archive, ask for it again, then ask for firmware with nothing else to trust."""

        def answer(request: bytes) -> bytes:
            """Return the server's response once the archive is published, by its own decision."""
            parsed = parse_head(request)
            decision = decide_archive(parse_request(parsed.method, parsed.headers), record, "archive")
            body = decision.body if decision.blob is None else self.renewal.signed
            return response(decision.status, decision.headers, body)

        url = firmware_url.removesuffix(FIRMWARE_FILE) + ARCHIVE_FILE
        first = device.renew_certificates(url, answer=answer)
        title = f"a device takes the certificates, as it meets the live server: {url}"
        self.phases.append(Phase(title, explained(first.steps)))
        if not first.ok:
            return
        renewed = replace(first.device, anchors=None)  # from now on by the filesystem alone
        again = renewed.renew_certificates(url, answer=answer)
        steps = explained(again.steps)
        if again.result is Result.UPDATED:
            reason = "the device is given the same archive again, and would renew it for ever"
            steps = (*steps, Step("loop", "poll 2", False, reason=reason, fix=LOOP_FIX))
        self.phases.append(Phase("poll 2: it is told that it has them", steps))
        firmware, _ = poll_live(renewed, firmware_url)
        title = f"with the new certificates alone, it asks for firmware: {firmware_url}"
        self.phases.append(replace(firmware, title=title))
