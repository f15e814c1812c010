"""The whole virtual ESP32: an update polled from a server, step by step, to the slot that is started after it.

Connection and certificates are played as on an ESP8266 (`poll`), by BearSSL's rules where the chip has mbedTLS (F89).
What is asked, how the answer is taken, and what becomes of the flash is the ESP32's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ...errors import ConfigError
from .. import library
from ..device import TIMEOUT, Device
from ..error_numbers import HttpError
from ..firmware import Firmware, identity_in, keys_in
from ..http_client import Body, Dialect, Response, parse_url
from ..http_update import NOT_MODIFIED, UNAUTHORIZED, judge_status
from ..library import LibraryError, Record
from ..poll import UpdatePoll
from ..power import Fate, Noted, Operation, PowerCuts, cut_everywhere, refused
from ..report import Fault, Outcome, Result
from . import boot, otadata, trial
from .chip import CHIPS, Chip
from .image import HASH_SIZE, HEADER, MAGIC, check
from .nor import Flash
from .receive import MD5_DIGITS, Setup, Staged, before_verdict, update
from .slot import NOTED, noted_before
from .table import TABLE_AT, Partition, Table, default, parse, serialise
from .updater import WITHHELD

FREE_HEAP = 200_000
NOWHERE = Partition("", 0, 0, 0, 0)
SDK_VERSION = "v5.5.1"
_HEX = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True)
class Esp32Device(Device):
    """A board that can be polled; see `Device` for what it holds, and `provision_board` for how it begins.

    `running_slot` is the partition that runs. `waits`: its boot loader waits for the word of new firmware. `note` is of
    an update that the library has on trial, or that gave way.
    """

    dialect: ClassVar[Dialect] = Dialect("ESP32-http-Update", joins=False, says_length=False)

    chip: Chip = CHIPS["esp32"]
    table: Table = field(default_factory=lambda: Table((), 0))
    running_slot: Partition = NOWHERE
    waits: bool = True
    note: trial.Note | None = None

    @classmethod
    def provision_board(
        cls, firmware: bytes, chip: Chip, table: Table | None = None, *, flash_size: int = 4 << 20
    ) -> Esp32Device:
        """Return a board that was written by cable: `firmware` in the first place that its partition `table` has.

        Without a table it is the core's own for that `flash_size`. Raises ConfigError for firmware that does not fit or
        does not start.
        """
        table = parse(default(flash_size), flash_size) if table is None else table
        slot = table.factory or next(iter(table.slots), None)
        if slot is None or len(firmware) > slot.size:
            raise ConfigError(
                f"firmware of {len(firmware)} bytes does not fit in the partition table's first slot",
                "choose board_build.partitions with larger slots, or make the firmware smaller",
            )
        flash = Flash(b"\xff" * table.flash_size)
        flash.program(TABLE_AT, serialise(table.rows))
        flash.program(slot.offset, firmware)
        if table.otadata is not None and table.factory is None:  # boot_app0.bin
            otadata.write(flash, table, 0, 1, otadata.State.UNDEFINED)
        started = boot.start(flash, table, chip)
        if started.slot is not None:
            boot.confirm(flash, table, started.slot)
        else:
            raise ConfigError(f"the firmware does not start: {started.refused}", "build it again, for this chip")
        content = bytes(flash.content)
        device = cls(content, table.layout, free_heap=FREE_HEAP, chip=chip, table=table, running_slot=started.slot)
        device = replace(device, send_buffer=device.receive_buffer)  # mbedTLS asks for no short records (F89)
        return device.with_library(identity_in(firmware))

    def with_library(self, identity: bytes | None) -> Esp32Device:
        """Return the device as the OtaSeal library of this record sets it up: mbedTLS has room for whole records."""
        if identity is None:
            return self
        return replace(self, version=library.read_record(identity).version, auto_format=False)

    @property
    def running(self) -> bytes:
        """The image that runs, hash included."""
        slot = self.flash[self.running_slot.offset : self.running_slot.end]
        return slot[: check(slot, self.chip).length]

    @property
    def chip_name(self) -> str:
        """What the chip is called: "ESP32-S3"."""
        family, model = self.chip.name[:5].upper(), self.chip.name[5:].upper()
        return f"{family}-{model}" if model else family

    @property
    def used(self) -> int:
        """Bytes of flash that the running image takes, in whole sectors."""
        return -(-len(self.running) // 4096) * 4096

    @property
    def room(self) -> int:
        """What `ESP.getFreeSketchSpace()` says: the size of the next slot (F92)."""
        place = self.table.next_slot(self.running_slot)
        return 0 if place is None else place.size

    @property
    def address(self) -> int:
        """Where in flash the running image lies."""
        return self.running_slot.offset

    def runs(self, built: bytes) -> bool:
        """Tell whether what runs is what was built."""
        return self.running == built

    @property
    def firmware(self) -> Firmware:
        """What the running image says of itself: neither core nor flash mode that any device goes by (F91)."""
        return Firmware(None, keys_in(self.running), identity_in(self.running), 255, 0)

    def cut_power(self, data: bytes, most: int | None = None) -> PowerCuts:
        """Return what comes of power cuts at every operation of the update `data` and the start after it.

        The old firmware has to take the update afterwards, the library from where it was. At `most` operations of both,
        if that is given. Raises ConfigError where the update is refused.
        """
        noted, setup = Noted(), _setup(self, None)
        flash = Flash(self.flash, noted)
        noted.begin("the slot is written")
        staged = update(flash, data, setup)
        if staged.fault is not None:
            raise refused()
        operations = noted.phases[0][1]
        at_last = operations.index(Operation(staged.address, data[:WITHHELD]))  # the first bytes of the image
        noted.begin("it is started")
        self._start(flash)

        def fate(state: bytes, one: Operation) -> Fate:
            image = len(staged.payload) - library.SIZE if one in operations[at_last:] else 0
            return self._fate(state, data, self._goes_on(setup, one, len(data), image))

        return cut_everywhere(self.flash, noted, fate, most)

    def _goes_on(self, setup: Setup, interrupted: Operation, size: int, image: int) -> Setup:
        """Return how the library takes a file of this size after a restart that has `interrupted` an operation.

        All of its `image` is noted where it was verified by then, and only the rest comes again; 0: it was not.
        """
        place = self.table.next_slot(self.running_slot)
        if setup.judge is None or place is None:
            return setup
        if image >= NOTED:
            return replace(setup, noted=image)
        at = min(interrupted.at, place.offset + before_verdict(size))
        return replace(setup, noted=noted_before(place, at)) if at > place.offset else setup

    def _start(self, flash: Flash) -> None:
        """Start what is in `flash`; its word, or the library's for another start, is the same operations."""
        started = boot.start(flash, self.table, self.chip)
        assert started.slot is not None
        boot.confirm(flash, self.table, started.slot)

    def _fate(self, state: bytes, data: bytes, setup: Setup) -> Fate:
        """Return what is started from a flash in this state, and LOST where the update then comes to nothing."""
        flash = Flash(state)
        fate = self._started(flash, data)
        if fate is not Fate.OLD:
            return fate
        if update(flash, data, setup).fault is not None:  # what was there is forgotten, and all of it asked for
            update(flash, data, replace(setup, noted=0))
        return Fate.OLD if self._started(flash, data) is Fate.NEW else Fate.LOST

    def _started(self, flash: Flash, data: bytes) -> Fate:
        started = boot.start(flash, self.table, self.chip)
        if started.slot is None:
            return Fate.LOST
        image = flash.read(started.slot.offset, started.application.length)
        return Fate.OLD if image == self.running else Fate.NEW if data.startswith(image) else Fate.LOST

    def poll(self, url: str, *, timeout: float = TIMEOUT, host: str | None = None) -> Outcome:
        """Return what comes of one update from `url`; `host` is dialled instead of the name in it. Raises as Device.

        An answer with firmware, or that there is nothing newer, confirms what was on trial.
        """
        outcome = Esp32Poll(self, parse_url(url), timeout, host).run()
        if outcome.status != NOT_MODIFIED and outcome.library_error <= LibraryError.UNAUTHORIZED:
            return outcome
        assert isinstance(outcome.device, Esp32Device)
        return replace(outcome, device=outcome.device.confirmed())

    @property
    def on_trial(self) -> bool:
        """Whether the server has not answered yet what runs."""
        return self.note is not None and self.note.slot == self.running_slot

    def confirmed(self) -> Esp32Device:
        """Return the device after its server has answered it; the same where nothing is on trial."""
        if not self.on_trial:
            return self
        flash = Flash(self.flash)
        boot.confirm(flash, self.table, self.running_slot)
        return replace(self, flash=bytes(flash.content), note=None)

    def restarted(self, *, crashes: bool = False) -> Esp32Device:
        """Return the device after a reset; what is on trial `crashes` before it comes to `begin()`.

        What gives way in `begin()` restarts the device by itself.
        """
        flash = Flash(self.flash)
        started = boot.start(flash, self.table, self.chip, waits=self.waits)
        assert started.slot is not None  # what ran is there still
        after = replace(self, flash=bytes(flash.content), running_slot=started.slot, session=None)
        after = replace(after, memory=replace(self.memory, error=0))
        if crashes and after.on_trial:
            return after
        return after._begun()

    def _begun(self) -> Esp32Device:
        flash = Flash(self.flash)
        if self.identity is None:  # the core gives the word by itself
            boot.confirm(flash, self.table, self.running_slot)
            return replace(self, flash=bytes(flash.content))
        note, mine = trial.begin(self._board(flash), self.note), self.on_trial
        after = replace(self, flash=bytes(flash.content), note=note)
        if note is None or not note.reason:
            return after
        if mine:
            return after.restarted()
        return replace(after, memory=replace(self.memory, attempts=library.MOST_ATTEMPTS, gave_way=note.reason))

    def waited(self, seconds: int = trial.SECONDS) -> Esp32Device:
        """Return the device after so many seconds without a good answer, in which the sketch calls `poll()`."""
        if not self.on_trial or seconds < trial.SECONDS:
            return self
        assert self.note is not None
        flash = Flash(self.flash)
        note = trial.give_way(self._board(flash), self.note, LibraryError.UNREACHED)
        after = replace(self, flash=bytes(flash.content), note=note)
        return after if note is None else after.restarted()

    def _board(self, flash: Flash) -> trial.Board:
        return trial.Board(flash, self.table, self.chip, self.running_slot)


class Esp32Poll(UpdatePoll):
    """A poll for firmware: as HTTPUpdate does it, or as the library does."""

    device: Esp32Device

    def claims(self) -> dict[str, str]:
        """Return what both say of the device (F48); the stock one adds the SHA-256 at the end of its sketch."""
        return dict(_claims(self.device, stock=self.own is None))

    def judge_response(self, response: Response, body: Body) -> None:
        """Refuse by status, size and room, and what was tried often enough; stock by the first byte, too."""
        checked = f"status {response.status}, {response.size} bytes"
        fault = judge_status(response)
        if fault is not None and response.status == UNAUTHORIZED and self.own is None:
            fault = replace(fault, error=HttpError.SERVER_WRONG_HTTP_CODE)
        if fault is not None and response.server_reason == "space":
            fault = replace(fault, fact="F92", cause="slot")
        if fault is None and self.own is not None and response.md5 and not _is_md5(response.md5):
            reason = f"x-MD5 has {len(response.md5)} characters, not {MD5_DIGITS} hex digits"
            fault = Fault(LibraryError.HTTP, reason, "F88", "md5-header")
        if fault is not None:
            self.refuse("answer", checked, fault)
        self.passed("answer", checked, "F29")
        self.refuse_exhausted(response)
        if self.own is not None:
            return
        room = self.device.room
        if response.size > room:
            reason = f"{response.size} bytes, and the next slot has {room}"
            self.refuse("space", checked, Fault(HttpError.TOO_LESS_SPACE, reason, "F92"))
        first = body.peek(1)
        if first != bytes([MAGIC]):
            reason = f"the first byte is 0x{first.hex()}, not 0xe9" if first else "no byte of a body arrives"
            fault = Fault(HttpError.BIN_VERIFY_HEADER_FAILED, reason, "F87", "" if first else "no-body")
            self.refuse("first-byte", first.hex(), fault)

    def install(self, data: bytes, response: Response) -> None:
        """Run the updater, then the boot loader."""
        self.device = device = self.device.confirmed()  # what is written over is the way back
        setup = _setup(device, response.md5 or None)
        staged = update(Flash(device.flash), data, setup, response.size)
        self.device = replace(device, flash=staged.flash)
        fault, step = staged.fault, staged.step
        place = f"'{getattr(device.table.next_slot(device.running_slot), 'label', 'none')}'"
        if fault is not None and step not in ("signature", "manifest", "activation"):
            self.result = Result.CRASHED if staged.crashed else Result.REFUSED
            self.refuse(step, f"{len(data)} of {response.size} bytes for the slot {place}", fault)
        self.passed("space", f"{response.size} of {device.room} bytes", "F92")
        if self.own is not None:
            self.note_attempt(staged.payload, response)
            self.judge_signature(f"{len(staged.payload)} bytes", setup.key, fault if step == "signature" else None)
            self.judge_manifest(staged.payload, fault if step == "manifest" else None)
        self.passed("write", f"{len(data)} bytes for the slot {place} at 0x{staged.address:x}", "F87")
        if fault is not None:
            self.refuse("activation", f"the slot {place}", fault)
        self.passed("activation", f"the slot {place}, to be started from now on", "F85")
        self._restart(staged)

    def judge_manifest(self, payload: bytes, fault: Fault | None) -> None:
        """Add the library's step, whose number is its own on this chip."""
        offered = library.find(payload)
        checked = f"counter {offered.counter}, version {offered.version}" if offered else "none"
        if fault is not None:
            self.refuse("manifest", checked, fault)
        self.passed("manifest", checked, "F11")

    def _restart(self, staged: Staged) -> None:
        before = self.device.running_slot
        place = self.device.table.next_slot(before)
        assert place is not None  # it was written to
        note = None if self.own is None else trial.Note(place, before)
        self.device = replace(self.device, flash=staged.flash, note=note).restarted()
        running = self.device.running_slot
        if running == before:
            refused = check(staged.flash[place.offset : place.end], self.device.chip).reason
            fault = Fault(0, f"the boot loader goes back to '{before.label}': {refused}", "F85")
            self.refuse("boot", f"'{running.label}'", fault)
        state = "on trial" if self.device.on_trial else "confirmed"
        self.passed("boot", f"'{running.label}', {len(self.device.running)} bytes, {state}", "F85")
        self.result = Result.UPDATED
        device, identity = self.device, self.device.identity
        self.device = replace(device, version=identity.version if identity else device.version)
        self.passed("result", f"runs sketch {_sketch_md5(self.device)}", "F90")


def _claims(device: Esp32Device, *, stock: bool) -> Iterator[tuple[str, str]]:
    """Yield the headers in the order in which they are sent; what is empty is not sent."""
    running, mac = device.running, device.mac.upper()
    yield "Cache-Control", "no-cache"
    yield "x-ESP32-STA-MAC", mac
    yield "x-ESP32-AP-MAC", f"{mac[:-2]}{int(mac[-2:], 16) + 1 & 0xFF:02X}" if mac else ""
    yield "x-ESP32-free-space", str(device.room)
    yield "x-ESP32-sketch-size", str(len(running))
    yield "x-ESP32-sketch-md5", _sketch_md5(device)
    if stock and running[HEADER.size - 1]:
        yield "x-ESP32-sketch-sha256", running[-HASH_SIZE:].hex().upper()
    yield "x-ESP32-chip-size", str(device.table.flash_size)
    yield "x-ESP32-sdk-version", SDK_VERSION
    yield "x-ESP32-mode", "sketch"
    if device.version:
        yield "x-ESP32-version", device.version


def _sketch_md5(device: Esp32Device) -> str:
    return hashlib.md5(device.running, usedforsecurity=False).hexdigest()


def _is_md5(text: str) -> bool:
    return len(text) == MD5_DIGITS and _HEX.issuperset(text)


def _setup(device: Esp32Device, md5: str | None) -> Setup:
    """Return how the device takes an update: stock, or with the library."""
    own, keys = device.identity, device.verifying_keys
    setup = Setup(device.table, device.running_slot, device.chip, md5)
    if own is None:
        return setup
    record: Record = own
    return replace(
        setup,
        key=keys[0] if keys else b"",
        next_key=keys[1] if len(keys) > 1 else None,
        judge=lambda payload: library.judge_update(payload, record, device.memory),
    )
