"""A device in `otaseal devices`: one line of 80 columns for what most devices are."""

from __future__ import annotations

import time
from typing import Any

from otaseal import terminal
from otaseal.cli import device_lines
from otaseal.release.evidence import Proof

NAME = "mac:5C:CF:7F:00:01:02"


def listed(**told: Any) -> list[str]:
    """Return the lines of a device on a terminal, in a list that has its channel."""
    usual = {"running": "1.3.0", "offered": "1.3.0", "state": "updated", "deliveries": 1, "error": None}
    device = {"device": NAME, "channel": "stable", "last_seen": time.time() - 130, "tags": ["esp"], **usual, **told}
    return terminal.fit(device_lines.line(device, with_channel=True), 80).splitlines()


def test_a_device_that_is_well_has_one_line() -> None:
    assert listed() == [f"{NAME}  runs 1.3.0  seen 2 minutes ago  in stable  updated  #esp"]


def test_what_is_more_stands_below_what_its_name_says() -> None:
    told = listed(state="stuck", running="1.2.0", deliveries=2, proof=Proof.AGREED.value)
    assert told == [
        f"{NAME}  runs 1.2.0  seen 2 minutes ago  in stable",
        f"{'':<23}STUCK: came back without 1.3.0, delivered 2 times",
        f"{'':<23}by an agreed key  #esp",
    ]
