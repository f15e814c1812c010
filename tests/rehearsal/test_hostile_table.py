"""The hostile table: a device with the library refuses all of it, and a row that is not refused is seen."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.firmware import Firmware
from otaseal.image.signing_header import embedded_key
from otaseal.rehearsal import hostile, scenario, setup
from otaseal.rehearsal.candidate import Candidate
from otaseal.rehearsal.hostile import LIBRARY, Attack
from otaseal.rehearsal.text import table_lines
from otaseal.release.records import Origin
from otaseal.simulator.flash import layout
from support.images import MODES, Signer, build_image

LAYOUT = layout("4m1m")
ORIGIN = Origin("blink", "1.0", "2026-01-31T12:00:00Z", "nodemcuv2")


def with_library(
    folder: Path, key: rsa.RSAPrivateKey, counter: int, *, packed: bool = False, built: int = 1_700_000_000
) -> scenario.Scenario:
    """Return the update of a device whose firmware carries the library's record with that security counter."""
    made = manifest.make(manifest.Claim("blink", "nodemcuv2", "1.0", counter, built), MODES["dio"])
    record = manifest.IDENTITY_MAGIC + manifest.serialise(made)[len(manifest.MAGIC) :]
    embedded = embedded_key(key.public_key()) + record
    old, new = (build_image(seed=seed, code_size=20_000, embedded=embedded) for seed in (1, 2))
    payloads = [new, gzip_payload.pad4(gzip.compress(new, mtime=0))] if packed else [new]
    forms = tuple(Firmware(signed_image.sign(manifest.attach(one, made), Signer(key))) for one in payloads)
    (folder / "old.bin").write_bytes(old)
    candidate = Candidate(forms, ORIGIN, (key.public_key(),))
    return setup.prepare(setup.Inputs(candidate, layout=LAYOUT), setup.DeviceOptions(old=folder / "old.bin"))


@pytest.mark.parametrize("counter", [0, 3])
def test_a_device_with_the_library_refuses_everything(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, counter: int) -> None:
    rows = {one.name: one for one in hostile.hostile(with_library(tmp_path, rsa_key, counter))}
    assert all(one.ok for one in rows.values()), [one for one in rows.values() if not one.ok]
    assert {rows[name].step for name in ("other board", "downgrade")} == {"manifest"}
    assert {one.verdict for one in rows.values()} <= {"refused", LIBRARY}
    assert table_lines(list(rows.values()))[-1] == "18 of 18 refused as they have to be"


def test_what_the_library_takes_is_counted_as_the_library_s(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """With a firmware as young as the server's certificate, its build's time does for the clock at 1970."""
    rows = hostile.hostile(with_library(tmp_path, rsa_key, 3, built=int(time.time())))
    assert [one.name for one in rows if one.verdict == LIBRARY] == ["clock at 1970"]
    assert table_lines(rows)[-1] == (
        "17 of 18 refused as they have to be, 1 taken by the OtaSeal library, whose clock begins with its build"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_device_with_the_library_takes_what_is_its_own(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, packed: bool
) -> None:
    report = scenario.play(with_library(tmp_path, rsa_key, 3, packed=packed))
    assert report.good, report.failed
    steps = {step.name: step for phase in report.phases for step in phase.steps}
    assert "counter 3" in steps["manifest"].checked


def test_a_row_that_is_not_as_it_has_to_be_is_seen(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    target = hostile._target(with_library(tmp_path, rsa_key, 3))
    sound = Attack("sound", lambda one: one.served(one.signed), ("signature",), (12,), stock_accepts=True)
    row = hostile._judge(sound, sound.play(target), target)
    assert (row.verdict, row.ok) == ("NOT REFUSED", False), "the library excuses no stock device"
    for wrong in (("first-byte", (12,)), ("signature", (9,))):
        attack = Attack("unsigned", lambda one: one.served(one.raw), (wrong[0],), wrong[1])
        row = hostile._judge(attack, attack.play(target), target)
        assert (row.verdict, row.ok, row.error) == ("WRONG ERROR", False, 12)
    assert "NOT as they have to be" in table_lines([row])[-1]


def test_the_library_takes_its_build_for_the_time_and_says_so(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    prepared = with_library(tmp_path, rsa_key, 3)
    inputs = setup.Inputs(prepared.candidate, layout=LAYOUT)
    chosen = setup.DeviceOptions(old=tmp_path / "old.bin", unset_clock=True)
    notes = setup.prepare(inputs, chosen).notes
    assert "the chosen clock: the OtaSeal library takes no time before its build's, 2023-11-14 22:13" in notes
    late = replace(chosen, unset_clock=False, clock=datetime(2031, 1, 1, tzinfo=timezone.utc))
    assert not [one for one in setup.prepare(inputs, late).notes if "takes no time before" in one]
