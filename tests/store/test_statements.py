"""What devices said they ran is remembered beside what is said now, bounded, unless an update explains the change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from otaseal.store.device_rows import Sighting
from otaseal.store.statements import MAX_STATEMENTS, REFRESHED_SECONDS, REMEMBERED_SECONDS
from support.devices import OneByOne, Open, open_devices

__all__ = ["open_devices"]

OLD, NEW = "0" * 32, "1" * 32
FIRST = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A", address="10.0.0.1")


@pytest.fixture
def devices(open_devices: Open) -> Iterator[OneByOne]:
    with open_devices() as opened:
        yield opened


def runs(devices: OneByOne, since: float = 0.0) -> dict[str, int]:
    return {md5[:2]: count for md5, _, count in devices.running("blink", "stable", since)}


def md5(number: int) -> str:
    return f"{number:02x}" * 16


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.2"])
def test_a_claim_is_remembered_beside_what_was_said_before(devices: OneByOne, address: str) -> None:
    devices.see(FIRST, 1.0)
    devices.see(replace(FIRST, md5=NEW, address=address), 2.0)
    assert runs(devices) == {"00": 1, "11": 1}
    assert sum(count for *_, count in devices.running("blink", "stable")) == 1, "it is one device"
    assert devices.needs("blink")[0] == {OLD, NEW}
    devices.see(FIRST, 3.0)
    assert runs(devices) == {"00": 1, "11": 1}, "each once"
    assert runs(devices, since=4.0) == {"00": 1}
    with devices.batch() as rows:
        rows.forget("blink", "mac:A")
    assert runs(devices) == {}


def test_an_update_explains_the_change(devices: OneByOne) -> None:
    devices.see(replace(FIRST, md5=md5(3)), 1.0)
    devices.see(FIRST, 2.0)
    devices.see(replace(FIRST, md5=md5(4), address="10.0.0.2"), 3.0)
    devices.offer("blink", "mac:A", "2.0", NEW, 4.0, "10.0.0.1")
    devices.deliver("blink", "mac:A", "2.0", 5.0, "10.0.0.1")
    devices.see(replace(FIRST, md5=NEW), 6.0)
    assert runs(devices) == {"11": 1, "04": 1}, "what was said elsewhere is not explained"


def test_who_proves_its_name_is_believed(devices: OneByOne) -> None:
    kitchen = replace(FIRST, device="cert:kitchen", address="")
    devices.see(kitchen, 1.0)
    devices.see(replace(kitchen, md5=NEW), 2.0)
    assert runs(devices) == {"11": 1}


def test_others_push_out_nothing_that_a_device_said(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    for number in range(16, 32):
        devices.see(replace(FIRST, md5=md5(number), address=f"10.0.1.{number}"), 2.0 + number)
    assert len(runs(devices)) == 1 + MAX_STATEMENTS
    devices.see(replace(FIRST, md5=NEW), 100.0)
    assert runs(devices)["00"] == 1
    assert len(runs(devices)) == 1 + MAX_STATEMENTS
    for number in range(32, 64):
        devices.see(replace(FIRST, md5=md5(number)), 200.0 + number)
    assert len(runs(devices)) == 1 + MAX_STATEMENTS


def test_the_same_from_elsewhere_is_written_once_a_day(devices: OneByOne) -> None:
    devices.see(FIRST, 1.0)
    claim = replace(FIRST, md5=NEW, address="10.0.0.2")
    devices.see(claim, 2.0)

    def writes(now: float) -> bool:
        devices.see(FIRST, now - 1.0)  # else it would be at home there
        return devices.preview(devices.get(claim.product, claim.device), claim, now)[1]

    assert not writes(3.0)
    assert writes(2.0 + REFRESHED_SECONDS)
    assert writes(2.0 + REMEMBERED_SECONDS)


def test_an_evicted_device_takes_its_statements_along(open_devices: Open) -> None:
    with open_devices(limit=10) as devices:
        for number in range(50):
            devices.see(replace(FIRST, device=f"mac:{number}"), float(number))
            devices.see(replace(FIRST, device=f"mac:{number}", md5=NEW), number + 0.5)
        ((count,),) = devices.query("SELECT count(*) FROM statements")
        assert count <= 10
