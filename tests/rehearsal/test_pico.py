"""Rehearsals for the Pico: an update to its end, what stops one, and the hostile table with library and without."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import ConfigError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.firmware import Firmware
from otaseal.image.signing_header import embedded_key
from otaseal.rehearsal import hostile, scenario, setup
from otaseal.rehearsal.candidate import Candidate
from otaseal.rehearsal.hostile import LIBRARY, STOCK
from otaseal.rehearsal.report import Report
from otaseal.rehearsal.scenario import Scenario
from otaseal.rehearsal.text import report_lines, summary, table_lines
from otaseal.release.records import Origin
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.pico.device import PicoDevice
from support.images import Signer
from support.pico_images import CHIPS as IMAGES
from support.pico_images import build_image

ORIGIN = Origin("blink", "1.0", "2026-01-31T12:00:00Z", "rpipicow")
SMALL = (0x40000, 0x40000)
SAYS_MD5 = b"x-Pico-\0sketch-md5\0"


def image(
    key: rsa.RSAPrivateKey, chip: str, seed: int = 2, library: int | None = 3, more: bytes = b"", **options: Any
) -> bytes:
    """Return an image with the key in it, and with the record of the library unless `library`, its counter, is None."""
    record = more
    if library is not None:
        record += manifest.IDENTITY_MAGIC + manifest.serialise(claims(library, f"{seed - 1}.0"))[len(manifest.MAGIC) :]
    code = bytes([seed]) * 9000 + embedded_key(key.public_key()) + record
    return build_image(chip, code=code, filesystem=options.pop("filesystem", SMALL), data_size=2001, **options)


def claims(counter: int, version: str = "1.0") -> manifest.Manifest:
    return manifest.make(manifest.Claim("blink", "rpipicow", version, counter, 1_700_000_000))


def prepared(
    key: rsa.RSAPrivateKey,
    chip: str = "rp2040",
    *,
    old: Path | None = None,
    library: int | None = 3,
    packed: bool = False,
    more: bytes = b"",
    **options: Any,
) -> Scenario:
    """Return the update of a board to an image of `chip`; `packed`: it is published as gzip, too."""
    raw = image(key, chip, library=library, more=more)
    payloads = [raw, gzip_payload.pad4(gzip.compress(raw, mtime=0))] if packed else [raw]
    if library is not None:
        payloads = [manifest.attach(payload, claims(library)) for payload in payloads]
    forms = tuple(Firmware(signed_image.sign(payload, Signer(key))) for payload in payloads)
    candidate = Candidate(forms, ORIGIN, (key.public_key(),))
    return setup.prepare(setup.Inputs(candidate), setup.DeviceOptions(old=old, **options))


def steps(report: Report) -> dict[str, str]:
    return {step.name: step.checked for phase in report.phases for step in phase.steps}


@pytest.mark.parametrize("library", [None, 3])
@pytest.mark.parametrize("chip", IMAGES)
def test_an_update_is_played_to_its_end(chip: str, library: int | None, rsa_key: rsa.RSAPrivateKey) -> None:
    report = scenario.play(prepared(rsa_key, chip, library=library))
    assert report.good, report.failed
    assert report.device == chip.partition("-")[0].upper()
    assert steps(report)["power-cut"].endswith("moments: the old one runs, or the stub begins anew")
    assert "poll 2: it is told that it is up to date" in [phase.title for phase in report.phases]
    assert any("arduino-pico 6.0.0 was assumed" in note for note in report.unchecked)
    assert not any("power cuts" in note for note in report.unchecked), "they were tried"
    assert f"a virtual {report.device}" in summary(report)[0]
    assert report.as_dict()["device"] == report.device


@pytest.mark.parametrize("packed", [False, True])
def test_a_library_that_says_the_md5_is_known_by_it(packed: bool, rsa_key: rsa.RSAPrivateKey) -> None:
    scenario_ = prepared(rsa_key, packed=packed, more=SAYS_MD5)
    (md5,) = scenario_.candidate.release.sketch_md5
    report = scenario.play(scenario_)
    assert report.good, report.failed
    assert steps(report)["result"] == f"runs sketch {md5}"


def test_a_gzip_is_played_where_the_library_is(rsa_key: rsa.RSAPrivateKey) -> None:
    report = scenario.play(prepared(rsa_key, packed=True))
    assert report.good, report.failed
    stock = prepared(rsa_key, packed=True, library=None)
    assert scenario.play(stock).good, "the server gives the raw form to a board without it"


def test_the_flash_map_has_the_update_inside_of_the_filesystem(rsa_key: rsa.RSAPrivateKey) -> None:
    report = scenario.play(prepared(rsa_key))
    staged = next(flash_map for flash_map in report.maps if flash_map.title == "staged")
    assert [region.kind for region in staged.regions] == ["old", "free", "filesystem", "staged", "system"]
    assert all(one.end == following.start for one, following in zip(staged.regions, staged.regions[1:], strict=False))
    assert staged.regions[3].end == sum(SMALL)
    assert any("+ the update, staged" in line for line in report_lines(report))


def test_a_filesystem_without_room_ends_it(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(image(rsa_key, "rp2040", 1, filesystem=(0x40000, 0x7000)))
    failed = scenario.play(prepared(rsa_key, old=old)).failed
    assert failed is not None
    assert (failed.name, failed.error, "board_build.filesystem_size" in failed.fix) == ("write", 4, True)


def test_a_filesystem_that_is_moved_ends_it(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(image(rsa_key, "rp2040", 1, filesystem=(0x50000, 0x30000)))
    failed = scenario.play(prepared(rsa_key, old=old)).failed
    assert failed is not None
    assert (failed.name, "by cable" in failed.fix) == ("filesystem", True)


def test_another_chip_ends_it(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(image(rsa_key, "rp2350", 1, library=None))
    failed = scenario.play(prepared(rsa_key, library=None, old=old)).failed
    assert failed is not None
    assert (failed.name, "another one's is taken, and loses them" in failed.fix) == ("boot", True)


def test_a_new_core_s_stub_is_named_and_stops_nothing(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    before = image(rsa_key, "rp2040", 1)
    old = tmp_path / "old.bin"
    old.write_bytes(before[:0x1800] + bytes([before[0x1800] ^ 1]) + before[0x1801:])
    report = scenario.play(prepared(rsa_key, old=old))
    assert report.good, report.failed
    cut = next(step for phase in report.phases for step in phase.steps if step.name == "power-cut")
    assert "of them lose the chip" in cut.reason


def test_an_old_core_keeps_the_signature_and_is_played(rsa_key: rsa.RSAPrivateKey) -> None:
    stock = prepared(rsa_key, library=None, core="5.4.4")
    assert stock.device.core == "5.4.4"
    assert scenario.play(stock).good


@pytest.mark.parametrize(
    ("options", "message"),
    [({"core": "3.1.2"}, "arduino-pico '3.1.2'"), ({"flash_mode": 2}, "--flash-mode"), ({"core": "6.0"}, "'6.0'")],
)
def test_options_of_the_esp8266_are_refused(options: dict[str, Any], message: str, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared(rsa_key, **options)


def test_a_layout_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    candidate = prepared(rsa_key).candidate
    with pytest.raises(ConfigError, match="--layout"):
        setup.prepare(setup.Inputs(candidate, layout=LAYOUTS["4m2m"]), setup.DeviceOptions())


@pytest.mark.parametrize("chip", IMAGES)
@pytest.mark.parametrize("counter", [0, 3])
def test_a_board_with_the_library_refuses_everything(chip: str, counter: int, rsa_key: rsa.RSAPrivateKey) -> None:
    rows = {row.name: row for row in hostile.hostile(prepared(rsa_key, chip, library=counter))}
    assert all(row.ok for row in rows.values()), [row for row in rows.values() if not row.ok]
    assert {row.verdict for row in rows.values()} <= {"refused", LIBRARY}
    assert {rows[name].step for name in ("other board", "downgrade", "image of another chip")} == {"manifest"}
    assert rows["page of a captive portal"].error == 12
    assert table_lines(list(rows.values()))[-1] == "17 of 17 refused as they have to be"


@pytest.mark.parametrize("chip", IMAGES)
def test_a_stock_board_takes_three_and_one_of_them_loses_it(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    rows = {row.name: row for row in hostile.hostile(prepared(rsa_key, chip, library=None))}
    assert all(row.ok for row in rows.values()), [row for row in rows.values() if not row.ok]
    taken = {name for name, row in rows.items() if row.verdict == STOCK}
    assert taken == {"other board", "downgrade", "image of another chip"}
    assert (rows["image of another chip"].step, rows["image of another chip"].fact) == ("boot", "F56")


def test_what_no_server_admits_is_played_all_the_same(rsa_key: rsa.RSAPrivateKey) -> None:
    sound = prepared(rsa_key, library=None)
    stranger = replace(sound.candidate, keys=(), forms=(Firmware(sound.candidate.raw, signed=False),))
    report = scenario.play(replace(sound, candidate=stranger))
    names = [step.name for phase in report.phases for step in phase.steps if not step.ok]
    assert names[0] == "admission"
    assert "signature" in names
    assert isinstance(sound.device, PicoDevice)
