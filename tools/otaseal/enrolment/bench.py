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
from .lines import CERTIFICATE, DONE, HELLO, Device, Outcome, certificate_line, parse

if TYPE_CHECKING:
    from ..client.client import Client
    from ..pki.certificate import Certificate
    from ..pki.store import Store
    from .port import Port

HELLO_SECONDS = 3.0
"""After so long without an answer the host says hello again: a board that was reset did not hear the first."""
ANSWER_SECONDS = 60.0
"""How long a device may take until it answers: its sketch may wait for Wi-Fi first."""
DONE_SECONDS = 20.0
"""How long a device may take to write its files."""
NOISE_LINES = 20_000
"""How many lines of its own output a sketch may print in that time."""
_REFUSALS = {
    1: ("server, port or product in its sketch are wrong", "correct the sketch, upload it, and enrol again"),
    2: ("no LittleFS", "pio run -t uploadfs"),
    3: ("no /certs.ar", "pio run -t uploadfs"),
    4: ("/certs.ar is damaged", "pio run -t uploadfs"),
    10: ("not enough memory", "call updates.enroll(Serial) where less of it is in use"),
    51: ("what came is no certificate for its key", "try again; nothing else may be on that line"),
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
    if signing is None:
        _finish(port, device)
        return Enrolled(device.name, None, registry.client.url if registry else None)
    with _signed(signing, device) as certificate:
        _give(port, device, certificate)
    return Enrolled(device.name, certificate, registry.client.url if registry else None)


def _meet(port: Port) -> Device:
    """Say hello until the device says who it is."""
    device, heard = _introduced(port, ANSWER_SECONDS)
    if device is not None:
        return device
    prints = "it prints, and does not answer" if heard else "nothing was received"
    raise SystemFaultError(
        f"no device answers at '{port.name}' in {ANSWER_SECONDS:.0f} seconds: {prints}",
        f"its sketch has to call updates.enroll(Serial) in loop() and Serial.begin({port.baud}); is that its speed, "
        "and is no monitor open?",
    )


def _introduced(port: Port, seconds: float) -> tuple[Device | None, bool]:
    """Return who answers hello, None if nobody does in so many seconds; and whether anything was heard at all."""
    give_up = time.monotonic() + seconds
    heard = False
    while time.monotonic() < give_up:
        port.write_line(HELLO)
        for line in _until(port, min(time.monotonic() + HELLO_SECONDS, give_up)):
            heard = heard or bool(line)
            said = parse(line)
            if isinstance(said, Device):
                return said, True
            if isinstance(said, Outcome) and said.error is not None:
                raise _refused(said.error)
    return None, heard


def _give(port: Port, device: Device, certificate: Certificate) -> None:
    """Send a certificate, and make sure that the device has it.

    A sketch that does something else for longer than the first characters take loses the line (F101), and says `ok`:
    it got nothing that is wrong. Asked again, it has the same key then; with its certificate it makes the next one.
    """
    port.write_line(certificate_line(certificate.der), slowly=len(CERTIFICATE))
    _finish(port, device)
    again, _ = _introduced(port, DONE_SECONDS)
    if again is not None and again.request.public_key == device.request.public_key:
        raise SystemFaultError(
            f"the certificate did not reach '{device.name}'",
            "call updates.enroll(Serial) more often: loop() has to come round within two seconds",
        )


def _finish(port: Port, device: Device) -> None:
    """Say that this was all, and wait until the device says that it has everything."""
    port.write_line(DONE)
    for line in _until(port, time.monotonic() + DONE_SECONDS):
        said = parse(line)
        if isinstance(said, Outcome):
            if said.error is not None:
                raise _refused(said.error)
            return
        if said is not None and (said.name, said.request.public_key) != (device.name, device.request.public_key):
            raise InputError(
                f"'{device.name}' has started again in between, and is now '{said.name}' with another key", "try again"
            )
    raise SystemFaultError(
        f"'{device.name}' does not say in {DONE_SECONDS:.0f} seconds that it has everything", "try again"
    )


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
