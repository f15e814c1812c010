"""`otaseal devices`: what operators say of devices, found again by it, and what became of one, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Command, Result, otaseal
from support.servers import MAC, Running, as_device, publish, talk

__all__ = ["otaseal"]

NAME = f"mac:{MAC}"
RULE = "odd  version 1.?, channel sta*"


Devices = Callable[..., Result]


@pytest.fixture
def devices(otaseal: Command, server: Running) -> Devices:
    """Return what runs `otaseal devices` for the server, in this process."""
    folder = server.store.parent
    (folder / "token").write_text(server.token)
    (folder / "token").chmod(0o600)
    where = ("--server", server.url, "--product", "blink", "--ca", server.world.ca, "--token-file", folder / "token")
    return lambda *words: otaseal("devices", *words, *where)


def poll(server: Running) -> int:
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(1))
    return talk(server.world.context(), server.port, request).status


def test_a_device_is_named_and_found_and_shown_with_its_history(server: Running, devices: Devices) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    assert poll(server) == 304
    said = [
        devices(*words).succeeded().out.strip()
        for words in (
            ("name", MAC.lower().replace(":", "-"), "living", "room"),
            ("note", NAME, "swap its battery"),
            ("tag", MAC, "indoor", "battery"),
            ("untag", MAC, "battery"),
            ("pin", MAC),
        )
    ]
    assert said[0] == f"{NAME}  'living room'"
    assert said[-1] == f"{NAME}  'living room'  #indoor  pinned: it gets no release  note: swap its battery"
    publish(server, "2.0", server.world.firmware(2).signed, max_failed=100)
    assert poll(server) == 304
    both = ("--tag", "indoor", "--tag", "battery")
    for option in (("--tag", "indoor"), ("--text", "LIVING"), ("--pinned",), ("--answered", "pinned")):
        first, *_ = devices(*option).succeeded().out.splitlines()
        assert first.startswith(f"{NAME} (living room)  runs 1.0  seen ")
        assert first.endswith("  pinned  #indoor")
    for option in (("--late",), ("--no-room",), ("--board", "other"), ("--tag", "battery"), both):
        assert "no such device was seen yet" in devices(*option).succeeded().out
    size = len(server.world.firmware(1).raw)
    shown = devices("show", MAC).succeeded().out
    for line in (
        "note  swap its battery",
        "chip  esp8266, core 3.1.2",
        f"room  sketch {size:,} bytes, free for an update 2,818,048 bytes, flash 4,194,304 bytes",
        "told  pinned",
    ):
        assert line in shown.splitlines(), shown
    events = [line[22:] for line in shown.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  ", line)]
    assert events == [
        "its polls are answered: pinned",
        "its polls are answered: current",
        "seen for the first time, runs 1.0",
    ]
    assert devices("show", MAC, "--json").succeeded().json["label"]["name"] == "living room"
    devices("forget", NAME).failed(1, f"'{NAME}' is pinned")
    for words in (("unpin", MAC), ("name", MAC, ""), ("note", MAC, "")):
        devices(*words).succeeded()
    assert devices("untag", MAC, "indoor").succeeded().out.strip().endswith("nothing is said of it any more")


def test_rules_and_a_file_of_names(server: Running, devices: Devices, tmp_path: Path) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    poll(server)
    assert "no rules" in devices("rules").succeeded().out
    made = devices("rules", "odd", "--version", "1.?", "--channel", "sta*").succeeded().out
    assert made.strip() == devices("rules").succeeded().out.strip() == RULE
    assert devices("--tag", "odd").succeeded().out.startswith(NAME)
    assert "no rules" in devices("rules", "odd", "--remove").succeeded().out
    (tmp_path / "devices.csv").write_text(
        f"device,name,tags,note\n{MAC},hall,indoor,\nmac:unseen,,spare,in the drawer\n"
    )
    assert "2 devices imported from" in devices("import", "devices.csv").succeeded().out
    assert devices("--tag", "indoor").succeeded().out.startswith(f"{NAME} (hall)")
    assert "note  in the drawer" not in devices().succeeded().out
    (tmp_path / "bad.csv").write_text("device,tags\nmac:1,NO TAG\n")
    devices("import", "bad.csv").failed(1, "line 2: 'NO' is not a valid tag")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pin",), "no device to pin is named"),
        (("tag", NAME), "a tag is missing"),
        (("name", NAME), "a name is missing"),
        (("pin", NAME, "hard"), "'hard' is one word too many"),
        (("import",), "no file to import is named"),
        (("rules", "--version", "1.*"), "no tag is named"),
        (("rules", "odd", "--tag", "even"), "--tag is one of the options that are for the list"),
        (("show", NAME, "--no-room"), "--no-room is one of the options that are for the list"),
        (("--name", "k*"), "are for rules"),
        (("forget", NAME, "--remove"), "--remove is for a rule"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    devices: Devices, arguments: tuple[str, ...], message: str
) -> None:
    devices(*arguments).failed(2, message)
