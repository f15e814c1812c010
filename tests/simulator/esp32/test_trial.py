"""Updates on trial on the virtual ESP32: firmware that fails in each way, and boot loaders of both kinds.

The library itself is played through the same in `tests/firmware/test_trial.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.rehearsal.loopback import HOST, Loopback, Request, TemporaryAuthority, response
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.table import APPLICATION, DATA, Partition, serialise
from otaseal.simulator.esp32.trial import SECONDS, STARTS
from otaseal.simulator.library import LibraryError
from otaseal.simulator.report import Outcome, Result
from support.esp32_boards import NOW, board, image, sealed

FACTORY = serialise(
    (
        Partition("otadata", DATA, 0, 0xE000, 0x2000),
        Partition("factory", APPLICATION, 0, 0x10000, 0x40000),
        Partition("app0", APPLICATION, 0x10, 0x100000, 0x40000),
    )
)


class Field:
    """A server with one release, and devices that it gives it to."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.key = key
        self.authority = TemporaryAuthority.create(NOW)
        self.new = image(key, 2)
        self.said: list[str] = []
        self.answer = b""
        self.offer(self.new)

    def offer(self, raw: bytes, seed: int = 2) -> None:
        data = sealed(raw, self.key, seed=seed)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.answer = response(200, (("Content-Length", str(len(data))), ("x-MD5", md5)), data)

    def reply(self, request: Request) -> bytes:
        headers = {name.lower(): value.decode() for name, value in request.headers}
        self.said.append(headers[b"x-otaseal-error"])
        return self.answer

    def poll(self, device: Esp32Device, authority: TemporaryAuthority | None = None) -> tuple[Outcome, Esp32Device]:
        with Loopback(self.reply, (authority or self.authority).context("localhost")) as server:
            outcome = device.poll(f"https://localhost:{server.port}/x", host=HOST)
        assert isinstance(outcome.device, Esp32Device)
        return outcome, outcome.device

    def updated(self, waits: bool, partitions: bytes | None = None) -> Esp32Device:
        old = board(image(self.key), partitions=partitions)
        outcome, device = self.poll(replace(old, anchors=(self.authority.root,), clock=NOW, waits=waits))
        assert outcome.result is Result.UPDATED, outcome.failed
        assert device.on_trial
        assert device.running == self.new
        return device


@pytest.fixture(scope="module")
def field(rsa_key: rsa.RSAPrivateKey) -> Field:
    return Field(rsa_key)


@pytest.fixture(params=[True, False], ids=["waits", "plain"])
def trying(request: pytest.FixtureRequest, field: Field) -> Esp32Device:
    """Return a device that has just started a release for the first time."""
    field.offer(field.new)
    return field.updated(request.param)


def assert_given_back(field: Field, device: Esp32Device, error: LibraryError) -> None:
    """The old firmware runs, says why, and takes the release no more."""
    assert device.running == image(field.key)
    field.offer(field.new)
    for _ in range(2):
        outcome, device = field.poll(device)
        assert outcome.library_error == LibraryError.ATTEMPTS
        assert field.said[-1] == str(int(error))
        device = device.restarted()
    field.answer = response(304)
    for _ in range(2):
        assert field.poll(device)[0].result is Result.UP_TO_DATE
    assert field.said[-1] == str(int(error))
    field.offer(image(field.key, 3), 3)
    outcome, device = field.poll(device)
    assert (outcome.result, device.running) == (Result.UPDATED, image(field.key, 3)), "another release is taken"
    field.answer = response(304)
    assert field.poll(device)[1].restarted(crashes=True).running == image(field.key, 3)
    assert field.said[-1] == "0"


def test_the_first_good_poll_confirms_it(field: Field, trying: Esp32Device) -> None:
    field.answer = response(304)
    outcome, device = field.poll(trying)
    assert outcome.result is Result.UP_TO_DATE
    for _ in range(STARTS + 2):
        device = device.restarted(crashes=True)
        assert device.running == field.new
    assert device.waited(10 * SECONDS).running == field.new


def test_it_crashes_before_begin(field: Field, trying: Esp32Device) -> None:
    """Not the first time here: the update's own restart came to `begin()`."""
    device = trying.restarted(crashes=True)
    assert device.running == field.new
    device = device.restarted(crashes=True)
    if trying.waits:
        assert_given_back(field, device, LibraryError.RESTARTS)
    else:
        assert device.running == field.new, "nobody has seen it"


def test_it_crashes_after_begin(field: Field, trying: Esp32Device) -> None:
    device = trying
    for _ in range(STARTS - 1):
        assert device.running == field.new
        device = device.restarted()
    assert device.running == field.new
    assert_given_back(field, device.restarted(), LibraryError.RESTARTS)


def test_its_last_start_works(field: Field, trying: Esp32Device) -> None:
    device = trying
    for _ in range(STARTS - 1):
        device = device.restarted()
    field.answer = response(304)
    device = field.poll(device)[1]
    assert not device.on_trial
    assert device.restarted().running == field.new


@pytest.mark.parametrize("why", ["no network", "another authority", "refused", "not found", "out of order"])
def test_it_does_not_reach_its_server(why: str, field: Field, trying: Esp32Device) -> None:
    device = trying
    if why != "no network":
        status = {"refused": 403, "not found": 404, "out of order": 503}.get(why, 304)
        field.answer = response(status)
        stranger = TemporaryAuthority.create(NOW) if why == "another authority" else None
        outcome, device = field.poll(device, stranger)
        assert outcome.result is Result.REFUSED
    assert device.on_trial
    device = device.waited(SECONDS - 1)
    assert device.running == field.new
    assert_given_back(field, device.waited(), LibraryError.UNREACHED)


def test_nothing_goes_back_to_what_does_not_start(field: Field, trying: Esp32Device) -> None:
    slot = trying.table.slots[0]
    spoilt = trying.flash[: slot.offset + 5000] + b"\0" + trying.flash[slot.offset + 5001 :]
    kept = replace(trying, flash=spoilt).waited()
    assert (kept.running, kept.on_trial, kept.note) == (field.new, False, None)
    assert kept.restarted(crashes=True).restarted().running == field.new


@pytest.mark.parametrize("waits", [True, False])
def test_a_factory_application_is_gone_back_to(waits: bool, field: Field) -> None:
    field.offer(field.new)
    device = field.updated(waits, FACTORY)
    assert_given_back(field, device.waited(), LibraryError.UNREACHED)


def test_a_firmware_without_the_library_is_confirmed_by_the_core(rsa_key: rsa.RSAPrivateKey, field: Field) -> None:
    stock = replace(board(image(rsa_key, counter=None)), anchors=(field.authority.root,), clock=NOW)
    field.answer = response(
        200, (("Content-Length", str(len(image(rsa_key, 2, counter=None)))),), image(rsa_key, 2, counter=None)
    )
    with Loopback(lambda _: field.answer, field.authority.context("localhost")) as server:
        outcome = stock.poll(f"https://localhost:{server.port}/x", host=HOST)
    assert isinstance(outcome.device, Esp32Device)
    assert not outcome.device.on_trial
    assert re.search("confirmed", next(step.checked for step in outcome.steps if step.name == "boot"))
    assert outcome.device.restarted().restarted().running == image(rsa_key, 2, counter=None)
