"""What a device is: flash, core, clock, buffers, and what it was provisioned with.

A value, and all of it plain data. What the device runs is read out of its flash: the core's release, the public keys,
the library's identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ..errors import ConfigError
from . import flash as chip
from . import library
from .core import DEFAULT_CORE, core_rules
from .firmware import Firmware, read
from .flash import Layout
from .library import Memory, Record
from .tls import ClientCertificate, Session

__all__ = ["State"]

S = TypeVar("S", bound="State")

DEFAULT_MAC = "5C:CF:7F:00:00:01"
FREE_HEAP = 40_000
LIBRARY_PROBE = 512
MODE_BYTE = 2


@dataclass(frozen=True)
class State:
    """A chip with all that a poll depends on; `chip.Device` can be polled. Sizes in bytes.

    `clock` None is 1970: it was never set. `anchors` (DER) are compiled in, and then no archive is read. `keys` stand
    for those found in the firmware. `probe` asks for records of that size first, as `probeMaxFragmentLength` does, and
    takes buffers of it where the server agrees. `resumes` keeps the TLS session until the next restart.
    """

    flash: bytes = field(repr=False)
    layout: Layout
    core: str = DEFAULT_CORE
    clock: datetime | None = None
    free_heap: int = FREE_HEAP
    receive_buffer: int = 16384
    send_buffer: int = 512
    probe: int | None = None
    client: ClientCertificate | None = field(default=None, repr=False)
    version: str = ""
    mac: str = DEFAULT_MAC
    resumes: bool = False
    session: Session | None = field(default=None, repr=False)
    auto_format: bool = True
    anchors: tuple[bytes, ...] | None = field(default=None, repr=False)
    keys: tuple[bytes, ...] | None = field(default=None, repr=False)
    flash_size: int | None = None
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def provision(
        cls: type[S],
        firmware: bytes,
        layout: Layout,
        filesystem: bytes | None = None,
        *,
        flash_mode: int | None = None,
        core: str | None = None,
    ) -> S:
        """Return a chip that was erased and written over the wire: `firmware` at 0, `filesystem` in its partition.

        `flash_mode` 0 to 3 is written into byte 2, as esptool does. The core is read out of the firmware where it says
        so; a firmware with the library keeps its session and does not format. Raises ConfigError for what does not fit.
        """
        if len(firmware) > layout.fs_start or len(firmware) < chip.APPLICATION + 16:
            raise ConfigError(f"firmware of {len(firmware)} bytes does not fit in layout '{layout.name}'", "check both")
        if filesystem is not None and len(filesystem) > layout.fs_size:
            reason = f"filesystem image of {len(filesystem)} bytes is larger than the partition of {layout.fs_size}"
            raise ConfigError(reason, "build it for this layout: pio run -t buildfs")
        if flash_mode is not None:
            firmware = firmware[:MODE_BYTE] + bytes([flash_mode]) + firmware[MODE_BYTE + 1 :]
        found = read(firmware)
        release = core or found.core or DEFAULT_CORE
        core_rules(release)
        flash = firmware.ljust(layout.fs_start, b"\xff") + (filesystem or b"").ljust(layout.fs_size, b"\xff")
        sealed = found.identity is not None
        version = library.read_record(found.identity).version if found.identity else ""
        return cls(
            flash.ljust(layout.flash_size, b"\xff"),
            layout,
            release,
            version=version,
            resumes=sealed,
            auto_format=not sealed,
            probe=LIBRARY_PROBE if sealed else None,
        )

    @property
    def firmware(self) -> Firmware:
        """What the running image says of itself."""
        return read(self.flash[: self.layout.fs_start])

    @property
    def running(self) -> bytes:
        """The running image by its own size."""
        return self.flash[: chip.sketch_size(self.flash)]

    @property
    def identity(self) -> Record | None:
        """The library's record, None in a sketch without it."""
        found = self.firmware.identity
        return library.read_record(found) if found else None

    @property
    def real_size(self) -> int:
        """Bytes of flash by the chip's own id."""
        return self.layout.flash_size if self.flash_size is None else self.flash_size

    @property
    def time(self) -> datetime | None:
        """The time that certificates are judged by: with the library not before its build (F25)."""
        own = self.identity
        if own is None:
            return self.clock
        return own.built if self.clock is None else max(self.clock, own.built)
