"""The virtual device: flash, core, clock, buffers and credentials, as one immutable value.

What it runs is read from its flash: the core's release, the public keys, the library's identity. Polling returns an
outcome with the next device, and is all that uses the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, TypeVar

from ..errors import ConfigError
from . import eboot, library, updater
from . import flash as chip
from .core import DEFAULT_CORE, core_rules
from .firmware import Firmware, read
from .firmware_poll import FirmwarePoll
from .flash import MODE_BYTE, SECTOR, Layout
from .http_client import ESP8266, Dialect, parse_url
from .library import Decoder, Memory, Record
from .power import Fate, Noted, Operation, PowerCuts, cut_everywhere, refused
from .report import Outcome
from .rotation import ArchivePoll, Responder
from .tls import ClientCertificate, Session
from .updater import Setup

D = TypeVar("D", bound="Device")

LIBRARY_PROBE = 512
TIMEOUT = 8.0
"""Seconds that the HTTP updater waits for more, as long as the core's default is."""


@dataclass(frozen=True)
class Device:
    """A chip with all that a poll depends on. Sizes in bytes.

    `clock` None is 1970: it was never set. `anchors` (DER) are compiled in, and then no archive is read. `keys` stand
    for those found in the firmware. `probe` asks for records of that size first, as `probeMaxFragmentLength` does, and
    takes buffers of it where the server agrees. `resumes` keeps the TLS session until the next restart. `decoder` is
    what the library makes of patches, None where none come; `whole_only`: the last one came to nothing, and no other is
    asked for until a restart or a 304.
    """

    dialect: ClassVar[Dialect] = ESP8266

    flash: bytes = field(repr=False)
    layout: Layout
    core: str = DEFAULT_CORE
    clock: datetime | None = None
    free_heap: int = 40_000
    receive_buffer: int = 16384
    send_buffer: int = 512
    probe: int | None = None
    client: ClientCertificate | None = field(default=None, repr=False)
    version: str = ""
    mac: str = "5C:CF:7F:00:00:01"
    resumes: bool = False
    session: Session | None = field(default=None, repr=False)
    auto_format: bool = True
    anchors: tuple[bytes, ...] | None = field(default=None, repr=False)
    keys: tuple[bytes, ...] | None = field(default=None, repr=False)
    memory: Memory = field(default_factory=Memory)
    decoder: Decoder | None = field(default=None, repr=False, compare=False)
    whole_only: bool = False

    @classmethod
    def provision(
        cls,
        firmware: bytes,
        layout: Layout,
        filesystem: bytes | None = None,
        *,
        flash_mode: int | None = None,
        core: str | None = None,
    ) -> Device:
        """Return a chip that was erased and written over the wire: `firmware` at 0, `filesystem` in its partition.

        `flash_mode` 0 to 3 is written into byte 2, as esptool does. The core is read out of the firmware where it says
        so; a firmware with the library keeps its session and does not format. Raises ConfigError for what does not fit.
        """
        if len(firmware) > layout.fs_start or len(firmware) < chip.APPLICATION + 16:
            raise ConfigError(f"firmware of {len(firmware)} bytes does not fit in layout '{layout.name}'", "check both")
        if flash_mode is not None:
            firmware = firmware[:MODE_BYTE] + bytes([flash_mode]) + firmware[MODE_BYTE + 1 :]
        contents = read(firmware)
        release = core or contents.core or DEFAULT_CORE
        core_rules(release)
        return cls(write_chip(firmware, layout, filesystem), layout, release).with_library(contents.identity)

    def with_library(self: D, identity: bytes | None) -> D:
        """Return the device as the OtaSeal library of this record sets it up, None: as it is without the library."""
        if identity is None:
            return self
        version = library.read_record(identity).version
        return replace(self, version=version, resumes=True, auto_format=False, probe=LIBRARY_PROBE)

    @property
    def firmware(self) -> Firmware:
        """What the running image says of itself."""
        return read(self.flash[: self.layout.fs_start])

    @property
    def running(self) -> bytes:
        """The running image by its own size."""
        return self.flash[: chip.sketch_size(self.flash)]

    @property
    def sketch(self) -> bytes:
        """What a sketch MD5 covers of the running image: the base of a patch."""
        return self.running

    @property
    def takes_patches(self) -> bool:
        """Whether a request for firmware says that a patch may come."""
        known = self.decoder is not None and not self.whole_only and self.identity is not None
        return known and any(said in self.running for said in library.SAYS_PATCHES)

    @property
    def chip_name(self) -> str:
        """What the chip is called."""
        return "ESP8266"

    @property
    def used(self) -> int:
        """Bytes of flash from 0 on that the running image takes, in whole sectors."""
        return self.layout.fs_start - chip.free_space(self.flash, self.layout)

    @property
    def address(self) -> int:
        """Where in flash the running image lies."""
        return 0

    def runs(self, built: bytes) -> bool:
        """Tell whether what runs is what was built; byte 2 is the chip's flash mode, whatever the image said (F7)."""
        rest, running = MODE_BYTE + 1, self.running
        return running[:MODE_BYTE] == built[:MODE_BYTE] and running[rest:] == built[rest:]

    @property
    def identity(self) -> Record | None:
        """The library's record, None in a sketch without it."""
        identity = self.firmware.identity
        return library.read_record(identity) if identity else None

    @property
    def verifying_keys(self) -> tuple[bytes, ...]:
        """The public keys (PEM) that updates are verified by, in the firmware's order; empty: nothing is verified."""
        return self.firmware.keys if self.keys is None else self.keys

    @property
    def time(self) -> datetime | None:
        """The time that certificates are judged by: with the library not before its build (F25)."""
        own = self.identity
        if own is None:
            return self.clock
        return own.built if self.clock is None else max(self.clock, own.built)

    def cut_power(self, data: bytes, most: int | None = None) -> PowerCuts:
        """Return what comes of power cuts at every operation of the update `data` and of eboot's copy after it.

        At `most` operations of both, if that is given. eboot's command is gone after each. Raises ConfigError where the
        update is refused.
        """
        keys = self.verifying_keys
        setup = Setup(self.core, self.layout, key=next(iter(keys), None), next_key=keys[1] if len(keys) > 1 else None)
        staged, noted = updater.update(self.flash, data, setup), Noted()
        if staged.command is None:
            raise refused()
        noted.begin("the update is staged")
        for at in range(staged.address, staged.address + len(data), SECTOR):
            noted.sector(at, staged.flash[at : min(at + SECTOR, staged.address + len(data))])
        noted.begin("eboot copies it")
        after = eboot.restart(staged.flash, staged.command, self.core, noted)
        old, new = (flash[: chip.sketch_size(flash)] for flash in (self.flash, after.flash))

        def fate(state: bytes, _: Operation) -> Fate:
            return Fate.OLD if state.startswith(old) else Fate.NEW if state.startswith(new) else Fate.LOST

        return cut_everywhere(self.flash, noted, fate, most)

    def poll(self, url: str, *, timeout: float = TIMEOUT, host: str | None = None) -> Outcome:
        """Return what comes of one update from `url`; `host` is dialled instead of the name in it.

        Raises ConfigError for a URL that is none, SystemFaultError where littlefs-python is missing, InputError for a
        client certificate that cannot be read.
        """
        return FirmwarePoll(self, parse_url(url), timeout, host).run()

    def renew_certificates(self, url: str, *, host: str | None = None, answer: Responder | None = None) -> Outcome:
        """Return what comes of asking `url` (".../certs.ar.signed") for another archive, as the library does.

        UPDATED: it is in use; UP_TO_DATE: 304 or 404. With `answer` the server is connected to and asked, and what
        `answer` makes of the request takes the place of what it says. Raises as `poll`, and ConfigError for a device
        without the library.
        """
        own = self.identity
        if own is None:
            raise ConfigError("the firmware of this device does not carry the OtaSeal library", "renew by uploadfs")
        return ArchivePoll(self, parse_url(url), TIMEOUT, host, own=own, answer=answer).run()


def write_chip(firmware: bytes, layout: Layout, filesystem: bytes | None) -> bytes:
    """Return a flash that was erased and written by cable; raises ConfigError for a filesystem that does not fit."""
    if filesystem is not None and len(filesystem) > layout.fs_size:
        reason = f"filesystem image of {len(filesystem)} bytes is larger than the partition of {layout.fs_size}"
        raise ConfigError(reason, "build it for this layout: pio run -t buildfs")
    return (firmware.ljust(layout.fs_start, b"\xff") + (filesystem or b"")).ljust(layout.flash_size, b"\xff")
