"""The whole virtual Pico: an update polled from a server, step by step, to the flash that comes of it.

Connection, certificates and the library's part are played as on an ESP8266 (`poll`); what is asked, what is made of
the answer, and what happens to the flash is arduino-pico's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from ...errors import ConfigError, InputError
from .. import library
from ..device import TIMEOUT, Device, write_chip
from ..firmware import Firmware, identity_in, keys_in
from ..http_client import Body, Dialect, Response, parse_url
from ..http_update import judge_status
from ..poll import UpdatePoll
from ..power import Fate, Noted, Operation, PowerCuts, cut_everywhere, refused
from ..public_key import load_public_key
from ..report import Fault, Outcome, Result
from . import updater
from .boot import BootResult, restart
from .chip import APPLICATION, CHIPS, PAGE, Chip, layout_in
from .order import FIRMWARE, ORDER
from .release import DEFAULT_RELEASE, release
from .updater import Setup, Staged

FREE_HEAP = 160_000
MD5_HEADER = b"sketch-md5\0"
"""In firmware of which the library says the MD5."""
NO_ACCESS_POINT = "00:00:00:00:00:00"


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
        flash = write_chip(firmware, layout, filesystem)
        device = cls(flash, layout, core, free_heap=FREE_HEAP, chip=chip, size=len(firmware))
        return device.with_library(identity_in(firmware))

    @property
    def running(self) -> bytes:
        """The image that runs."""
        return self.flash[: self.size]

    @property
    def sketch_md5(self) -> str | None:
        """The MD5 that the library says of what runs, the manifest behind it apart (F130); None where it says none."""
        if self.identity is None or MD5_HEADER not in self.running:
            return None
        return hashlib.md5(self.sketch, usedforsecurity=False).hexdigest()

    @property
    def sketch(self) -> bytes:
        """The image up to the end that its linker knows."""
        running = self.running
        manifest = library.SIZE if running[-library.SIZE :].startswith(library.MAGIC) else 0
        return running[: len(running) - manifest]

    @property
    def takes_patches(self) -> bool:
        """Whether a request for firmware says that a patch may come: not without an MD5 of the base."""
        return self.sketch_md5 is not None and super().takes_patches

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

    def cut_power(self, data: bytes, most: int | None = None) -> PowerCuts:
        """Return what comes of power cuts at every operation of the update `data` and of the copy after it.

        The old firmware has to take the update afterwards, at every sixteenth of them. At `most` operations of both, if
        that is given. Raises ConfigError where the update is refused.
        """
        noted = Noted()
        noted.begin("the file is written")
        staged = updater.update(self.flash, data, _setup(self, None), noted=noted)
        if staged.fault is not None or not staged.ordered:
            raise refused()
        noted.begin("it is copied")
        whole = restart(staged.flash, self.chip, noted)
        tries = count()

        def fate(state: bytes, operation: Operation) -> Fate:
            if operation.at < APPLICATION:  # the boot ROM starts no stub that is damaged, or a damaged one
                return Fate.LOST
            found = self._started(state, whole)
            return self._again(state, data, whole) if found is Fate.OLD and next(tries) % 16 == 0 else found

        return cut_everywhere(self.flash, noted, fate, most)

    def _started(self, state: bytes, whole: BootResult) -> Fate:
        """Return what is started from a flash in this state: the old firmware, or what comes of the `whole` update."""
        after = restart(state, self.chip)
        if not after.started.cpu:
            return Fate.LOST
        if after.flash[: whole.size] == whole.flash[: whole.size]:
            return Fate.NEW
        return Fate.OLD if after.flash[: self.size] == self.running else Fate.LOST

    def _again(self, state: bytes, data: bytes, whole: BootResult) -> Fate:
        """Return OLD for a flash in this state whose firmware then takes the update, else LOST."""
        staged = updater.update(restart(state, self.chip).flash, data, _setup(self, None))
        return Fate.OLD if self._started(staged.flash, whole) is Fate.NEW else Fate.LOST

    @property
    def firmware(self) -> Firmware:
        """What the running image says of itself: no core, no flash mode and no flash size on this chip."""
        return Firmware(None, keys_in(self.running), identity_in(self.running), 255, 0)

    def poll(self, url: str, *, timeout: float = TIMEOUT, host: str | None = None) -> Outcome:
        """Return what comes of one update from `url`; `host` is dialled instead of the name in it. Raises as Device."""
        return PicoPoll(self, parse_url(url), timeout, host).run()


class PicoPoll(UpdatePoll):
    """A poll for firmware, as HTTPUpdate does it."""

    device: PicoDevice

    def claims(self) -> dict[str, str]:
        """Return what HTTPUpdate says of the device, neither sizes nor what runs (F57), and the library's MD5."""
        device = self.device
        headers = {
            "x-Pico-Chip-ID": device.board_id,
            "x-Pico-STA-MAC": device.mac.lower(),
            "x-Pico-AP-MAC": NO_ACCESS_POINT,
            **({"x-Pico-sketch-md5": device.sketch_md5} if device.sketch_md5 else {}),
            "x-Pico-Mode": "sketch",
        }
        return headers | ({"x-Pico-Version": device.version} if device.version else {})

    def judge_response(self, response: Response, body: Body) -> None:
        """Refuse by status and size, and what was tried often enough."""
        checked = f"status {response.status}, {response.size} bytes"
        fault = judge_status(response)
        if fault is not None:
            self.refuse("answer", checked, fault)
        self.passed("answer", checked, "F29")
        self.refuse_exhausted(response)

    def install(self, data: bytes, response: Response) -> None:
        """Run the updater, then the boot stub."""
        setup = _setup(self.device, response.md5 or None)
        staged = updater.update(self.device.flash, data, setup, response.size)
        self.device = replace(self.device, flash=staged.flash)
        fault, payload = staged.fault, staged.payload
        if fault is not None and staged.step not in ("signature", "manifest"):
            self.refuse(staged.step, f"{len(data)} of {response.size} bytes", fault)
        self.passed("space", f"{response.size} of {setup.layout.fs_size} bytes", "F55")
        self.passed("write", f"{len(data)} bytes, {FIRMWARE} in the filesystem", "F55")
        self.note_attempt(payload, response)
        self.judge_signature(f"{len(payload)} bytes", setup.key, fault if staged.step == "signature" else None)
        self.judge_manifest(payload, fault)
        self._restart(staged, setup)

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
        shown = f"sketch {self.device.sketch_md5}" if self.device.sketch_md5 else f"an image of {device.size} bytes"
        self.passed("result", f"runs {shown}", "F57")
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
    return Setup(
        release(device.core),
        device.layout,
        key=keys[0] if keys else None,
        md5=md5,
        next_key=_usable_next(keys) if own is not None else None,
        judge=None if own is None else lambda payload: library.judge_update(payload, own, device.memory),
        clears=own is not None,
    )


def _usable_next(keys: tuple[bytes, ...]) -> bytes | None:
    """Return the library's second key where it can be used: its size has to be that of the first (port_pico.cpp)."""
    sizes = [key and key.size for key in map(load_public_key, keys[:2])]
    return keys[1] if len(sizes) == 2 and sizes[0] == sizes[1] is not None else None
