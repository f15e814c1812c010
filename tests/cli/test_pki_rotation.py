"""`otaseal pki rotate`: the first one is free, a later one is confirmed, and one that was killed is finished."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from otaseal.pki.store import Slot, Store
from support.command import TOOLS, Command, otaseal, process
from support.pki_store import PASSPHRASE, made_once, store
from support.terminal import Terminal

__all__ = ["made_once", "otaseal", "store"]


def test_the_first_rotation_is_free_and_the_second_is_confirmed(store: Path, otaseal: Command) -> None:
    otaseal("pki", "export", "certs").succeeded()
    assert otaseal("pki", "export", "certs").succeeded().out.startswith("kept")
    shown = otaseal("pki", "rotate", "--json").succeeded().json
    assert shown["due"] == ["main", "alice"]
    otaseal("pki", "renew").succeeded()
    moved = otaseal("pki", "export", "certs", "--json").succeeded().json
    assert (len(moved["written"]), len(moved["removed"])) == (1, 1)
    otaseal("pki", "check", store / "issued/server/main/chain.pem", "--ca", "certs").succeeded()

    before = {path: path.read_bytes() for path in store.rglob("*.pem")}
    process("pki", "rotate", cwd=store, OTASEAL_PASSPHRASE=PASSPHRASE.decode()).failed(2, "dates from a rotation")
    assert {path: path.read_bytes() for path in store.rglob("*.pem")} == before
    otaseal("pki", "rotate", "--yes").succeeded()
    assert len(list(store.glob("server-ca-retired-*"))) == 2


@pytest.mark.parametrize(("typed", "code"), [("no", 2), ("yes", 0)])
def test_the_second_rotation_is_confirmed_at_a_terminal(typed: str, code: int, store: Path, otaseal: Command) -> None:
    otaseal("pki", "rotate").succeeded()
    following = (store / "server-ca-next" / "certificate.pem").read_bytes()
    command = [sys.executable, "-m", "otaseal", "pki", "rotate", "--store", str(store)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "OTASEAL_PASSPHRASE": PASSPHRASE.decode()}) as terminal:
        terminal.expect("since then: ")
        terminal.type(typed)
        terminal.rest()
        assert terminal.returncode == code, terminal.screen
    assert (following == (store / "server-ca" / "certificate.pem").read_bytes()) == (code == 0)


@pytest.mark.parametrize(
    ("passphrase", "message"),
    [
        ("", "is locked, and --json asks no questions"),
        (PASSPHRASE.decode(), "the next authority dates from a rotation"),
    ],
)
def test_who_wants_json_is_asked_nothing(passphrase: str, message: str, store: Path, otaseal: Command) -> None:
    otaseal("pki", "rotate").succeeded()
    command = [sys.executable, "-m", "otaseal", "pki", "rotate", "--json", "--store", str(store)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "OTASEAL_PASSPHRASE": passphrase}) as terminal:
        (line,) = terminal.rest().splitlines()
        assert terminal.returncode == 2
    assert message in json.loads(line)["error"]


def test_a_rotation_that_was_killed_is_finished_without_being_asked(store: Path, otaseal: Command) -> None:
    otaseal("pki", "rotate").succeeded()
    shutil.rmtree(store / "server-ca-next")
    current = (store / "server-ca" / "certificate.pem").read_bytes()
    otaseal("pki", "rotate").succeeded()
    assert (store / "server-ca" / "certificate.pem").read_bytes() == current
    assert Store(store, "blink", PASSPHRASE).authority(Slot.SERVER_NEXT).product == "blink"
