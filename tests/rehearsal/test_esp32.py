"""Rehearsals for the ESP32: an update to its end, what stops one, and the hostile table with library and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.chips import esp32
from otaseal.errors import ConfigError
from otaseal.image.firmware import Firmware
from otaseal.rehearsal import hostile, scenario, setup, trial
from otaseal.rehearsal.candidate import Candidate, repaired
from otaseal.rehearsal.hostile import LIBRARY, STOCK
from otaseal.rehearsal.report import Report
from otaseal.rehearsal.scenario import Scenario
from otaseal.rehearsal.text import report_lines
from otaseal.release.records import Origin
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.table import APPLICATION, DATA, Partition, Table, default, parse
from otaseal.simulator.esp32.trial import Note
from otaseal.simulator.flash import LAYOUTS
from support.esp32_boards import BOARD, image, sealed

ORIGIN = Origin("blink", "1.2", "2026-01-31T12:00:00Z", BOARD)
ONE_SLOT = Table(
    (Partition("otadata", DATA, 0, 0xE000, 0x2000), Partition("app0", APPLICATION, 0x10, 0x10000, 0x300000)), 4 << 20
)


def prepared(
    key: rsa.RSAPrivateKey,
    chip: str = "esp32",
    *,
    old: Path | None = None,
    library: int | None = 3,
    inputs: dict[str, Any] | None = None,
    **options: Any,
) -> Scenario:
    """Return the update of a board to an image of `chip`, with the library unless `library`, its counter, is None."""
    form = Firmware(sealed(image(key, 2, chip, library), key, library or 0))
    candidate = Candidate((form,), ORIGIN, (key.public_key(),))
    return setup.prepare(setup.Inputs(candidate, **(inputs or {})), setup.DeviceOptions(old=old, **options))


def steps(report: Report) -> dict[str, str]:
    return {step.name: step.checked for phase in report.phases for step in phase.steps}


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3", "esp32c6"])
def test_an_update_is_played_to_its_end(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    report = scenario.play(prepared(rsa_key, chip))
    assert report.good, report.failed
    assert report.device.replace("-", "").lower() == chip
    said = steps(report)
    assert said["power-cut"].endswith("moments: the old or the new firmware starts")
    assert said["boot"].startswith("'app1'")
    assert said["boot"].endswith("on trial")
    tried = [step.checked for phase in report.phases for step in phase.steps if step.name == "trial"]
    assert [text.partition(": ")[2] for text in tried[:3]] == [
        f"'app0' runs again, and says error {error}" for error in (71, 71, 70)
    ]
    assert tried[3:] == ["'app1' is confirmed by this answer"]
    assert "counter 3" in said["manifest"]
    assert "poll 2: it is told that it is up to date" in [phase.title for phase in report.phases]
    assert any("the core's own for 4 MiB of flash was assumed" in note for note in report.unchecked)
    assert any("mbedTLS" in note for note in report.unchecked)


def test_an_answer_that_does_not_confirm_what_is_on_trial_is_said_with_its_fix(rsa_key: rsa.RSAPrivateKey) -> None:
    device = prepared(rsa_key).device
    assert isinstance(device, Esp32Device)
    assert trial.confirmation(device, device) == (), "it came by cable"
    tried = replace(device, note=Note(device.running_slot, device.table.slots[1]))
    (step,) = trial.confirmation(tried, tried)
    assert (step.ok, step.error) == (False, 70)
    assert "304" in step.fix


def test_the_flash_map_has_the_update_in_the_other_slot(rsa_key: rsa.RSAPrivateKey) -> None:
    report = scenario.play(prepared(rsa_key, inputs={"layout": parse(default(8 << 20))}))
    assert report.good, report.failed
    assert not any("assumed; name" in note for note in report.unchecked)
    by_title = {flash_map.title: flash_map for flash_map in report.maps}
    places = {region.kind: region.start for region in by_title["staged"].regions}
    assert (places["old"], places["staged"]) == (0x10000, 0x340000)
    for flash_map in report.maps:
        ends = [region.end for region in flash_map.regions]
        assert [region.start for region in flash_map.regions] == [0, *ends[:-1]]
        assert ends[-1] == 8 << 20
    assert any("+ the update, staged" in line for line in report_lines(report))


def test_what_runs_is_told_by_its_md5(rsa_key: rsa.RSAPrivateKey) -> None:
    """Without a name for the older release the device runs a twin, which differs in its header alone."""
    sound = prepared(rsa_key)
    twin, raw = sound.candidate.twin, sound.candidate.raw
    assert twin != raw
    assert esp32.parse(twin).faults() == ()
    assert (len(twin), twin[24:-32]) == (len(raw), raw[24:-32])
    assert repaired(raw) == raw


def test_a_table_without_a_second_slot_ends_it(rsa_key: rsa.RSAPrivateKey) -> None:
    failed = scenario.play(prepared(rsa_key, inputs={"layout": ONE_SLOT})).failed
    assert failed is not None
    assert (failed.name, failed.fact) == ("space", "F87")
    assert "board_build.partitions" in failed.fix


def test_what_does_not_fit_in_the_slot_ends_it(rsa_key: rsa.RSAPrivateKey) -> None:
    small = tuple(Partition(f"app{one}", APPLICATION, 0x10 + one, 0x10000 + one * 0x10000, size) for one, size in
                  ((0, 0x10000), (1, 0x8000)))  # fmt: skip
    table = Table((Partition("otadata", DATA, 0, 0xE000, 0x2000), *small), 1 << 20)
    failed = scenario.play(prepared(rsa_key, inputs={"layout": table})).failed
    assert failed is not None
    assert (failed.name, failed.cause, "board_build.partitions" in failed.fix) == ("answer", "slot", True)


def test_another_chip_s_image_ends_it(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    (tmp_path / "old.bin").write_bytes(image(rsa_key, 1, "esp32s3"))
    failed = scenario.play(prepared(rsa_key, old=tmp_path / "old.bin")).failed
    assert failed is not None
    assert failed.name in ("first-byte", "answer")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"core": "3.1.2"}, "--core"), ({"flash_mode": 2}, "--flash-mode")],
)
def test_options_of_other_chips_are_refused(options: dict[str, Any], message: str, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared(rsa_key, **options)
    with pytest.raises(ConfigError, match="of the ESP32"):
        prepared(rsa_key, inputs={"layout": LAYOUTS["4m2m"]})


def test_the_filesystem_of_the_build_is_looked_into(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    divided = parse(default(4 << 20)).layout
    made = LittleFS(block_size=4096, block_count=divided.fs_size // 4096, name_max=64, prog_size=128, read_size=128)
    for name, content in (("littlefs.bin", bytes(made.context.buffer)), ("spiffs.bin", b"\x42" * divided.fs_size)):
        (tmp_path / name).write_bytes(content)
    seen = prepared(rsa_key, inputs={"filesystem": tmp_path / "littlefs.bin", "archive": b"!<arch>\n"})
    assert seen.lacking == ()
    other = prepared(rsa_key, inputs={"filesystem": tmp_path / "spiffs.bin", "archive": b"!<arch>\n"})
    assert other.lacking == ("the filesystem image, which is not LittleFS: the certificates were put into one that is",)


@pytest.mark.parametrize("chip", ["esp32", "esp32s3"])
@pytest.mark.parametrize("counter", [0, 3])
def test_a_board_with_the_library_refuses_everything(chip: str, counter: int, rsa_key: rsa.RSAPrivateKey) -> None:
    rows = {row.name: row for row in hostile.hostile(prepared(rsa_key, chip, library=counter))}
    assert all(row.ok for row in rows.values()), [row for row in rows.values() if not row.ok]
    assert {row.verdict for row in rows.values()} <= {"refused", LIBRARY}
    assert {rows[name].step for name in ("other board", "downgrade")} == {"manifest"}
    assert [name for name, row in rows.items() if row.verdict == LIBRARY] == ["clock at 1970"], "it was built just now"
    assert len(rows) > 22


def test_a_stock_board_takes_all_that_its_boot_loader_starts(rsa_key: rsa.RSAPrivateKey) -> None:
    rows = {row.name: row for row in hostile.hostile(prepared(rsa_key, library=None))}
    assert all(row.ok for row in rows.values()), [row for row in rows.values() if not row.ok]
    taken = {name: row for name, row in rows.items() if row.verdict == STOCK}
    assert set(taken) == {
        "unsigned image",
        "signed with a stranger's key",
        "length of the signature 0",
        "a byte behind the signature",
        "other board",
        "downgrade",
    }
    assert {row.fact for row in taken.values()} == {"F46"}


def test_what_no_server_admits_is_played_all_the_same(rsa_key: rsa.RSAPrivateKey) -> None:
    sound = prepared(rsa_key)
    stranger = replace(sound.candidate, keys=(), forms=(Firmware(sound.candidate.raw, signed=False),))
    report = scenario.play(replace(sound, candidate=stranger))
    names = [step.name for phase in report.phases for step in phase.steps if not step.ok]
    assert names[0] == "admission"
    assert "signature" in names
    assert isinstance(sound.device, Esp32Device)
