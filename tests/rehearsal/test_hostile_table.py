"""The hostile table: a device with the library refuses all of it, and a row that is not refused is seen."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import gzip_payload, image, manifest
from otaseal.device.flash import layout
from otaseal.rehearsal import hostile, play, setup
from otaseal.rehearsal.candidate import Candidate
from otaseal.rehearsal.hostile import LIBRARY, Case
from otaseal.rehearsal.text import table_lines
from otaseal.release import Origin
from otaseal.signing_header import embedded_key
from support.images import MODES, Signer, build_image

LAYOUT = layout("4m1m")
ORIGIN = Origin("blink", "1.0", "2026-01-31T12:00:00Z", "nodemcuv2")


def with_library(folder: Path, key: rsa.RSAPrivateKey, counter: int, *, packed: bool = False) -> play.Scene:
    """Return the update of a device whose firmware carries the library's record with that security counter."""
    made = manifest.make(manifest.Claim("blink", "nodemcuv2", "1.0", counter, 1_700_000_000), MODES["dio"])
    record = manifest.IDENTITY_MAGIC + manifest.serialise(made)[len(manifest.MAGIC) :]
    embedded = embedded_key(key.public_key()) + record
    old, new = (build_image(seed=seed, code_size=20_000, embedded=embedded) for seed in (1, 2))
    payloads = [new, gzip_payload.pad4(gzip.compress(new, mtime=0))] if packed else [new]
    forms = tuple(image.sign(manifest.attach(one, made), Signer(key)) for one in payloads)
    (folder / "old.bin").write_bytes(old)
    candidate = Candidate(forms, ORIGIN, (key.public_key(),))
    return setup.prepare(setup.Materials(candidate, layout=LAYOUT), setup.Choices(old=folder / "old.bin"))


@pytest.mark.parametrize("counter", [0, 3])
def test_a_device_with_the_library_refuses_everything(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, counter: int) -> None:
    rows = {one.name: one for one in hostile.hostile(with_library(tmp_path, rsa_key, counter))}
    assert all(one.ok for one in rows.values()), [one for one in rows.values() if not one.ok]
    assert {rows[name].step for name in ("other board", "downgrade")} == {"manifest"}
    assert {one.verdict for one in rows.values()} <= {"refused", LIBRARY}
    assert "refused as they have to be" in "\n".join(table_lines(list(rows.values())))


@pytest.mark.parametrize("packed", [False, True])
def test_a_device_with_the_library_takes_what_is_its_own(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, packed: bool
) -> None:
    report = play.perform(with_library(tmp_path, rsa_key, 3, packed=packed))
    assert report.good, report.failed
    steps = {line.name: line for act in report.acts for line in act.lines}
    assert "counter 3" in steps["manifest"].checked


def test_a_row_that_is_not_as_it_has_to_be_is_seen(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    stage = hostile._stage(with_library(tmp_path, rsa_key, 3))
    sound = Case("sound", lambda one: one.served(one.signed), ("signature",), (12,), stock_accepts=True)
    row = hostile._judge(sound, sound.play(stage), stage)
    assert (row.verdict, row.ok) == ("NOT REFUSED", False), "the library excuses no stock device"
    for wrong in (("first-byte", (12,)), ("signature", (9,))):
        case = Case("unsigned", lambda one: one.served(one.raw), (wrong[0],), wrong[1])
        row = hostile._judge(case, case.play(stage), stage)
        assert (row.verdict, row.ok, row.error) == ("WRONG ERROR", False, 12)
    assert "NOT as they have to be" in table_lines([row])[-1]
