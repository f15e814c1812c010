"""Enrol the device on a serial cable: its proof key goes to the server, a certificate for its own key comes back.

Nothing is done half. The key is registered before anything is signed, and a certificate that the device does not say it
has is revoked at once: nobody knows whether it arrived.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ..errors import InputError, OtasealError, SystemFaultError
from ..pki.profile import Role
from .lines import HELLO, Device, Outcome, certificate_line, parse

if TYPE_CHECKING:
    from ..client.client import Client
    from ..pki.certificate import Certificate
    from ..pki.store import Store
    from .port import Port

HELLO_SECONDS = 3.0
"""After so long without an answer the host says hello again: a board that was reset did not hear the first."""
ANSWER_SECONDS = 60.0
"""How long a device may take until it answers: its sketch may wait for Wi-Fi first."""
TAKE_SECONDS = 5.0
"""How long a device may take to write its files, until its certificate is sent again."""
TRIES = 4
UNFIT = 51
"""The error of a device that got a part of its certificate, or another one."""
NOISE_LINES = 20_000
"""How many lines of its own output a sketch may print in that time."""
_REFUSALS = {
    1: ("server, port or product in its sketch are wrong", "correct the sketch, upload it, and enrol again"),
    2: ("no LittleFS", "pio run -t uploadfs"),
    3: ("no /certs.ar", "pio run -t uploadfs"),
    4: ("/certs.ar is damaged", "pio run -t uploadfs"),
    10: ("not enough memory", "call updates.enroll(Serial) where less of it is in use"),
    UNFIT: ("what came is no certificate for its key", "try again; nothing else may be on that line"),
    44: ("its filesystem is full or failed", "make room in it, or write it anew: pio run -t uploadfs"),
}
"""What the library's errors mean here (errors.h of the library), and what to do."""


@dataclass(frozen=True)
class Signing:
    """The authority that signs: its `store`, and for how many `days`."""

    store: Store
    days: int


@dataclass(frozen=True)
class Registry:
    """Where proof keys are registered: the server of `client`, for `product`."""

    client: Client
    product: str


@dataclass(frozen=True)
class Enrolled:
    """What a device got: `certificate` is None where nobody signs; `server` where its key is registered, or None."""

    device: str
    certificate: Certificate | None
    server: str | None

    def lines(self) -> list[str]:
        """Return for a person what was done."""
        lines = [f"enrolled {self.device}"]
        if self.server is not None:
            lines.append(f"  its key is registered at {self.server}: it proves its name from the first request")
        if self.certificate is not None:
            end = f"{self.certificate.fields.not_after:%Y-%m-%d}"
            lines.append(f"  its certificate {self.certificate.serial} is valid to {end}")
        return lines


def enroll(port: Port, signing: Signing | None, registry: Registry | None) -> Enrolled:
    """Enrol the device at `port` by what is given, and return what it got.

    Raises InputError for what the device says or refuses, SystemFaultError for a port, a server or a device that does
    not answer; then the certificate is revoked, and the message says so.
    """
    device = _meet(port)
    if registry is not None:
        registry.client.enrol(registry.product, device.name, device.proof_key)
    server = registry.client.url if registry else None
    if signing is None:
        return Enrolled(device.name, None, server)
    with _signed(signing, device) as certificate:
        _give(port, device, certificate)
    return Enrolled(device.name, certificate, server)


def _meet(port: Port) -> Device:
    """Say hello until the device says who it is."""
    give_up = time.monotonic() + ANSWER_SECONDS
    heard = False
    while time.monotonic() < give_up:
        port.write_line(HELLO)
        for line in _until(port, min(time.monotonic() + HELLO_SECONDS, give_up)):
            heard = heard or bool(line)
            said = parse(line)
            if isinstance(said, Device):
                return said
            if isinstance(said, Outcome) and said.error not in (0, UNFIT):  # which are late answers to a certificate
                raise _refused(said.error)
    prints = "it prints, and does not answer" if heard else "nothing was received"
    raise SystemFaultError(
        f"no device answers at '{port.name}' in {ANSWER_SECONDS:.0f} seconds: {prints}",
        f"its sketch has to call updates.enroll(Serial) in loop() and Serial.begin({port.baud}); is that its speed, "
        "and is no monitor open?",
    )


def _give(port: Port, device: Device, certificate: Certificate) -> None:
    """Send a certificate until the device says that it has it.

    A sketch that does something else meanwhile loses the line, or a part (F101). It listens when it has said who it is.
    """
    error = None
    for attempt in range(TRIES):
        if attempt:
            _meet(port)
        port.write_line(certificate_line(certificate.der))
        error = _answer(port)
        if error not in (None, UNFIT):
            break
    if error is None:
        raise SystemFaultError(
            f"'{device.name}' does not say that it has its certificate, which was sent {TRIES} times",
            f"call updates.enroll(Serial) more often: loop() has to come round within {HELLO_SECONDS:.0f} seconds",
        )
    if error:
        raise _refused(error)


def _answer(port: Port) -> int | None:
    """Return the error that the device tells, 0 where it has its certificate, None where it says nothing."""
    for line in _until(port, time.monotonic() + TAKE_SECONDS):
        said = parse(line)
        if isinstance(said, Outcome):
            return said.error
    return None


def _until(port: Port, deadline: float) -> Iterator[bytes]:
    """Yield what the device prints until the `deadline`."""
    for _ in range(NOISE_LINES):
        line = port.read_line(deadline)
        if line is None:
            return
        yield line


@contextlib.contextmanager
def _signed(signing: Signing, device: Device) -> Iterator[Certificate]:
    """Yield a certificate for the device, which is revoked unless all goes well with it."""
    store = signing.store
    before = {entry.serial for entry in store.list()}
    certificate = store.enroll(device.request, now=_now(), days=signing.days)
    try:
        yield certificate
    except BaseException as error:
        if certificate.serial in before:  # it has had it before, and may use it
            raise
        store.revoke(Role.DEVICE, device.name, now=_now(), serial=certificate.serial)
        if isinstance(error, OtasealError):
            error.message += f"; its certificate {certificate.serial} is revoked"
        raise


def _refused(number: int) -> InputError:
    what, hint = _REFUSALS.get(number, ("its library says what that is in errors.h", "look at what its sketch prints"))
    return InputError(f"the device refuses with error {number}: {what}", hint)


def _now() -> datetime:
    return datetime.now(timezone.utc)
