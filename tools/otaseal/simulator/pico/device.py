"""The whole virtual Pico: an update polled from a server, step by step, to the flash that comes of it.

Connection, certificates and the library's part are played as on an ESP8266 (`poll`); what is asked, what is made of
the answer, and what happens to the flash is arduino-pico's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...errors import ConfigError, InputError
from .. import library
from ..device import LIBRARY_PROBE, TIMEOUT, Device
from ..error_numbers import HttpError, UpdateError
from ..firmware import Firmware, identity_in, keys_in
from ..http_client import Dialect, Response, parse_url
from ..http_update import judge_status
from ..library import LibraryError
from ..poll import Poll
from ..public_key import load_public_key
from ..report import Fault, Outcome, Result
from ..tls import Connection
from . import updater
from .boot import BootResult, PowerCuts, cut_power, restart
from .chip import CHIPS, PAGE, Chip, layout_in
from .order import FIRMWARE, ORDER
from .release import DEFAULT_RELEASE, release
from .updater import Setup, Staged

__all__ = ["PicoDevice"]

FREE_HEAP = 160_000
NO_ACCESS_POINT = "00:00:00:00:00:00"
TRIED = Fault(LibraryError.ATTEMPTS, "this very release was tried three times", "F12")


@dataclass(frozen=True)
class PicoDevice(Device):
    """A board that can be polled; see `Device` for what it holds, and `provision_board` for how it begins.

    `core` is arduino-pico's release, `size` the bytes of the image that runs, which no device knows of itself.
    """

    dialect: ClassVar[Dialect] = Dialect("Pico-HTTP-Update", ("chunked", "identity"), joins=False)

    chip: Chip = CHIPS["rp2040"]
    size: int = 0
    board_id: str = "E6614103E72B6A2F"

    @classmethod
    def provision_board(
        cls,
        firmware: bytes,
        chip: Chip,
        filesystem: bytes | None = None,
        *,
        flash_size: int | None = None,
        core: str = DEFAULT_RELEASE,
    ) -> PicoDevice:
        """Return a board that was written by cable: `firmware` at 0, `filesystem` where that image says.

        Raises InputError for an image that does not say it, ConfigError for what does not fit.
        """
        release(core)
        layout = layout_in(firmware, flash_size)
        if len(firmware) > layout.fs_start:
            raise ConfigError(
                f"firmware of {len(firmware)} bytes reaches into the filesystem, which begins at {layout.fs_start}",
                "choose a smaller board_build.filesystem_size, or make the firmware smaller",
            )
        if filesystem is not None and len(filesystem) > layout.fs_size:
            reason = f"filesystem image of {len(filesystem)} bytes is larger than the partition of {layout.fs_size}"
            raise ConfigError(reason, "build it for this board: pio run -t buildfs")
        flash = firmware.ljust(layout.fs_start, b"\xff") + (filesystem or b"")
        sealed = identity_in(firmware)
        return cls(
            flash.ljust(layout.flash_size, b"\xff"),
            layout,
            core,
            free_heap=FREE_HEAP,
            version=library.read_record(sealed).version if sealed else "",
            resumes=sealed is not None,
            auto_format=sealed is None,
            probe=LIBRARY_PROBE if sealed else None,
            chip=chip,
            size=len(firmware),
        )

    @property
    def running(self) -> bytes:
        """The image that runs."""
        return self.flash[: self.size]

    @property
    def chip_name(self) -> str:
        """What the chip is called."""
        return self.chip.name.upper()

    @property
    def used(self) -> int:
        """Bytes of flash from 0 on that the running image takes, in whole pages."""
        return -(-self.size // PAGE) * PAGE

    def runs(self, built: bytes) -> bool:
        """Tell whether what runs is what was built; a manifest stands behind it."""
        return self.running.startswith(built)

    def cut_power(self, data: bytes, most: int) -> PowerCuts:
        """Return what comes of power cuts at up to `most` moments while the update `data` is copied."""
        staged = updater.update(self.flash, data, _setup(self, None))
        return cut_power(staged.flash, self.chip, most)

    @property
    def firmware(self) -> Firmware:
        """What the running image says of itself: no core, no flash mode and no flash size on this chip."""
        return Firmware(None, keys_in(self.running), identity_in(self.running), 255, 0)

    def poll(self, url: str, *, timeout: float = TIMEOUT, host: str | None = None) -> Outcome:
        """Return what comes of one update from `url`; `host` is dialled instead of the name in it. Raises as Device."""
        return PicoPoll(self, parse_url(url), timeout, host).run()


class PicoPoll(Poll):
    """A poll for firmware, as HTTPUpdate does it; with the library, as the library does."""

    device: PicoDevice

    def exchange(self, connection: Connection) -> None:
        """Ask for firmware, and install it."""
        body, response = self.ask(connection, _claims(self.device))
        self.up_to_date(response)
        checked = f"status {response.status}, {response.size} bytes"
        fault = judge_status(response)
        if fault is not None:
            self.refuse("answer", checked, fault)
        self.passed("answer", checked, "F29")
        if self.own is not None and self.device.memory.exhausted_transfer(response.md5):
            self.error = HttpError.CONNECTION_LOST
            self.refuse("manifest", f"x-MD5 {response.md5}", TRIED)
        data = body.take(response.size)
        self.hang_up()
        self.tls_error = body.tls_error if len(data) < response.size else 0
        self._store(data, response)

    def _store(self, data: bytes, response: Response) -> None:
        setup = _setup(self.device, response.md5 or None)
        staged = updater.update(self.device.flash, data, setup, response.size)
        self.device = replace(self.device, flash=staged.flash)
        if staged.fault is not None and staged.step not in ("signature", "manifest"):
            self.refuse(staged.step, f"{len(data)} of {response.size} bytes", staged.fault)
        self.passed("space", f"{response.size} of {setup.layout.fs_size} bytes", "F55")
        self.passed("write", f"{len(data)} bytes, {FIRMWARE} in the filesystem", "F55")
        if self.own is not None and len(staged.payload) < response.size:
            memory = self.device.memory.noted(staged.payload, response.md5)
            self.device = replace(self.device, memory=memory)
        verified = "no key in the firmware: nothing is verified" if setup.key is None else "by the key in the firmware"
        if staged.step == "signature" and staged.fault is not None:
            self.refuse("signature", verified, staged.fault)
        self.passed("signature", f"{len(staged.payload)} bytes, {verified}", "F1")
        if self.own is not None:
            self._judge_manifest(staged)
        self._restart(staged, setup)

    def _judge_manifest(self, staged: Staged) -> None:
        offered = library.find(staged.payload)
        checked = f"counter {offered.counter}, version {offered.version}" if offered else "none"
        if staged.fault is not None:
            self.error = UpdateError.SIGN
            self.refuse("manifest", checked, staged.fault)
        self.passed("manifest", checked, "F11")

    def _restart(self, staged: Staged, setup: Setup) -> None:
        if not staged.ordered:
            reason = f"no room for {ORDER} beside the image: the sketch is told of success, and nothing changes"
            self.refuse("order", ORDER, Fault(0, reason, "F55"))
        self.passed("order", f"{ORDER}, for {len(staged.stored)} bytes", "F55")
        after = restart(staged.flash, self.device.chip)
        self.device = replace(self.device, flash=after.flash, session=None)
        self._judge_copy(after, setup)
        self.device = replace(self.device, size=after.size)
        self.result = Result.UPDATED
        self._start(setup)

    def _judge_copy(self, after: BootResult, setup: Setup) -> None:
        """Add copy and start; what is copied to its half leaves nothing that can be relied on."""
        reason = after.reason
        if not after.copied and not reason:
            reason = "the order holds no line that can be carried out"
        if after.size > setup.layout.fs_start:
            reason = f"{after.size} bytes reach into the filesystem, which begins at {setup.layout.fs_start}"
        self.result = Result.BRICKED if after.pages else Result.REFUSED
        pages = f"{after.size} bytes from {FIRMWARE}, {after.pages} pages written"
        if reason:
            self.refuse("copy", pages, Fault(0, reason, "F55"))
        self.passed("copy", pages, "F55")
        chip = self.device.chip.name
        if not after.started.cpu:
            self.refuse("boot", chip, Fault(0, after.started.reason, "F56"))
        self.passed("boot", f"{chip}, {after.started.cpu}", "F56")

    def _start(self, setup: Setup) -> None:
        """Take from the new firmware what it says of itself, and where it looks for its filesystem."""
        device, identity = self.device, self.device.identity
        self.device = replace(device, version=identity.version if identity else device.version)
        self.passed("result", f"runs an image of {device.size} bytes", "F57")
        checked = f"{setup.layout.name} at 0x{setup.layout.fs_start:x}"
        try:
            moved = layout_in(device.running, setup.layout.flash_size)
        except InputError as error:
            self.refuse("filesystem", checked, Fault(0, error.message, "F55"))
        if moved != setup.layout:
            self.device = replace(self.device, layout=moved)
            reason = f"the new firmware looks for its filesystem at 0x{moved.fs_start:x}: it is formatted there"
            self.refuse("filesystem", checked, Fault(0, reason, "F55"))


def _setup(device: PicoDevice, md5: str | None) -> Setup:
    """Return how the device judges an update: stock, or with the library."""
    own, keys = device.identity, device.verifying_keys

    def judge(payload: bytes) -> Fault | None:
        fault = None if own is None else library.judge(library.find(payload), own)
        return TRIED if fault is None and device.memory.exhausted(payload) else fault

    return Setup(
        release(device.core),
        device.layout,
        key=keys[0] if keys else None,
        md5=md5,
        next_key=_usable_next(keys) if own is not None else None,
        judge=None if own is None else judge,
        clears=own is not None,
    )


def _claims(device: PicoDevice) -> dict[str, str]:
    """Return what HTTPUpdate says of itself: neither sizes nor what runs (F57)."""
    headers = {
        "x-Pico-Chip-ID": device.board_id,
        "x-Pico-STA-MAC": device.mac.lower(),
        "x-Pico-AP-MAC": NO_ACCESS_POINT,
        "x-Pico-Mode": "sketch",
    }
    return headers | ({"x-Pico-Version": device.version} if device.version else {})


def _usable_next(keys: tuple[bytes, ...]) -> bytes | None:
    """Return the library's second key where it can be used: its size has to be that of the first (port_pico.cpp)."""
    found = [load_public_key(text) for text in keys[:2]]
    both = len(found) == 2 and found[0] is not None and found[1] is not None and found[0].size == found[1].size
    return keys[1] if both else None
