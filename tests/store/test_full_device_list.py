"""A full list of devices: who goes from it where there is no room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.store.device_rows import Sighting
from support.devices import Open, open_devices

__all__ = ["open_devices"]

DAY = 86400.0
NEW = "1" * 32
FIRST = Sighting("blink", "stable", "mac:A", "0" * 32, "1.0", "A")


@pytest.mark.proof
@pytest.mark.parametrize("downloads", [False, True])
def test_a_flood_of_invented_devices_does_not_push_out_a_fleet(open_devices: Open, downloads: bool) -> None:
    """Whether they download or not, and whether the fleet ever did."""
    with open_devices(limit=50) as devices:
        fleet = [f"mac:{number}" for number in range(20)]
        for when in (1.0, 1.0 + DAY):
            for name in fleet:
                devices.see(replace(FIRST, device=name), when)
        devices.see(replace(FIRST, device="cert:new"), 2.0 + DAY)
        assert devices.flood() == ""
        for number in range(500):
            name, now = f"invented:{number}", 10.0 + DAY + number
            devices.see(replace(FIRST, device=name), now)
            if downloads:
                devices.offer("blink", name, "2.0", NEW, now)
                devices.deliver("blink", name, "2.0", now)
            assert len(devices.list("blink")) <= 50
        known = {one.device for one in devices.list("blink")}
        assert known > {*fleet, "cert:new"}
        assert "invented:499" in known
        assert "invented:0" not in known
        assert "they push out each other, and nobody who was known before" in devices.flood()


def test_newcomers_have_a_tenth_of_the_places(open_devices: Open) -> None:
    """Where there is no room for anybody else, the longest silent goes, and certificates last."""
    with open_devices(limit=50) as devices:
        names = [*(f"cert:{number}" for number in range(5)), *(f"mac:{number}" for number in range(45))]
        for number, name in enumerate(names):
            for when in (1.0 + number, DAY + number + 1.0):
                devices.see(replace(FIRST, device=name), when)
        for number in range(200):
            devices.see(replace(FIRST, device=f"invented:{number}"), 2 * DAY + number)
        known = [one.device for one in devices.list("blink")]
        assert len(known) <= 50
        assert {name for name in names if name.startswith("cert:")} < set(known)
        assert "invented:199" in known
        left = sorted(int(name[4:]) for name in known if name.startswith("mac:"))
        assert left == list(range(45))[-len(left) :], "the longest silent went"
        assert len(left) >= 45 - 2 * 6, "and no more than there had to be room for"


def test_who_says_anothers_name_goes_first_from_a_full_list_however_long_he_was_there(open_devices: Open) -> None:
    week = 7 * DAY
    names = [f"{kind}:{number}" for number in range(10) for kind in ("mac", "unproven")]
    with open_devices(limit=20) as devices:
        for when in (0.0, week):
            for number, name in enumerate(names):
                devices.see(Sighting("blink", "stable", name, "a" * 32), when + number)
        for number in range(5):
            devices.see(Sighting("blink", "stable", f"mac:new{number}", "a" * 32), week + 100 + number)
        left = {device.device for device in devices.list("blink")}
    assert {name for name in names if name.startswith("mac:")} <= left
    assert len([name for name in left if name.startswith("unproven:")]) < 10
