"""What devices are answered: one test a row of the table, and the stock core as judge."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from otaseal.chips import esp8266
from otaseal.chips.boot_image import FlashMode
from otaseal.image import gzip_payload, signed_image
from otaseal.protocol.answers import ANSWERED, REASONS, Decision
from otaseal.protocol.decisions import _TABLE, State, decide
from otaseal.protocol.request import UpdateRequest
from otaseal.protocol.running import Running, known_images
from otaseal.release.records import Origin, Release
from otaseal.simulator.verdict import StockDevice, judge, judge_on
from support.by_bytes import describe
from support.chips import public_pem, room
from support.images import CORES, OTHER_CORES, Signer, build_image
from support.rsa_keys import make_rsa
from support.update_requests import CURL, ESP32, EXPECTED, MD5, PICO, parsed

KIB = 1024


@cache
def build(version: str = "1.2.3", kinds: str = "raw gzip", **options: Any) -> tuple[Release, dict[str, bytes]]:
    """Return a release with the signed files that its forms describe, by their SHA-256."""
    key, raw = make_rsa(2048), build_image(**{"seed": sum(version.encode()), **options})
    payloads = {"raw": raw, "gzip": gzip_payload.compress(raw)}
    files = [signed_image.sign(payloads[kind], Signer(key)) for kind in kinds.split()]
    described = describe(files, Origin("blink", version, "2026-01-31T12:00:00Z"), [key.public_key()])
    return described, {form.blob: data for form in described.forms for data in files if len(data) == form.size}


def a_device(running: Release | None, chip: FlashMode = FlashMode.DIO, **claims: Any) -> UpdateRequest:
    """Return what a truthful device with 1 MiB below its filesystem says."""
    if running is not None:
        used = -(-running.sketch_size // 4096) * 4096
        told = {"sketch_md5": running.sketch_md5[chip], "sketch_size": running.sketch_size, "free_space": 2**20 - used}
        claims = {"chip_size": 2**22, "mac": EXPECTED.mac, **told, **claims}
    return UpdateRequest(**{"method": "GET", "family": "esp8266", **claims})


OLD, NEW = build("1.2.2")[0], build("1.2.3")[0]
KNOWN = State(known_images([OLD, NEW]))


def answer(request: UpdateRequest, state: State = KNOWN, wanted: Release | None = NEW) -> tuple[int, str, str | None]:
    found = decide(request, wanted, state)
    check_shape(found, request)
    return found.status, found.code, found.form.kind if found.form else None


def check_shape(found: Decision, request: UpdateRequest) -> None:
    """Hold an answer against what the device demands of it (F29)."""
    headers = {name.lower(): value for name, value in found.headers}
    assert len(headers) == len(found.headers)
    assert all(f"{name}{value}".isascii() and f"{name}{value}".isprintable() for name, value in found.headers)
    assert "transfer-encoding" not in headers
    assert "location" not in headers
    assert found.reason
    if found.form:
        assert (found.status, found.body) == (200, b"")
        assert int(headers["content-length"]) == found.form.size > 0
        assert headers["x-md5"] == found.form.md5
        assert len(headers["x-md5"]) == 32
        assert headers["x-otaseal-version"]
    else:
        assert "x-md5" not in headers
        assert found.body == b"" if found.status == 304 else int(headers["content-length"]) == len(found.body)


def test_an_older_release_is_updated_with_what_its_core_takes() -> None:
    assert answer(a_device(OLD)) == (200, "update", "gzip")
    ancient = build("1.0", core="2.7.4")[0]
    state = State(known_images([ancient, OLD, NEW]))
    assert answer(a_device(ancient), state) == (200, "update", "raw")
    assert answer(a_device(None), state) == (200, "update", "raw")
    assert answer(a_device(None, sketch_md5=MD5, sketch_size=300000, free_space=600000), state)[2] == "raw"


def test_the_log_says_from_what_to_what() -> None:
    assert decide(a_device(OLD), NEW, KNOWN).reason == "1.2.2 to 1.2.3, gzip, chip in DIO"
    assert decide(a_device(None), NEW, KNOWN).reason == "unknown to 1.2.3, raw, chip unknown"
    assert decide(a_device(None, version="7"), NEW, KNOWN).reason == "7 to 1.2.3, raw, chip unknown"


@pytest.mark.parametrize("mode", FlashMode)
def test_the_running_release_is_known_by_its_md5_in_any_flash_mode(mode: FlashMode) -> None:
    assert answer(a_device(NEW, mode)) == (304, "current", None)
    assert answer(a_device(NEW, mode, version="unknown"), State()) == (304, "current", None)


def test_the_md5_of_the_signed_file_is_never_that_of_a_sketch() -> None:
    for form in NEW.forms:
        assert answer(a_device(None, sketch_md5=form.md5))[0] == 200


def test_the_version_counts_where_the_md5_says_nothing_else() -> None:
    assert answer(a_device(None, version="1.2.3")) == (304, "current", None)
    assert answer(a_device(None, version="1.2.3", sketch_md5=MD5)) == (304, "current", None)
    assert answer(a_device(None, version="1.2.30")) == (200, "update", "raw")
    assert answer(a_device(OLD, version="1.2.3")) == (200, "update", "gzip")


def test_what_is_not_there() -> None:
    for missing in ("product", "channel", "release"):
        found = decide(a_device(OLD), None, State(missing=missing))
        assert (found.status, found.body) == (404, f"there is no such {missing}\n".encode())
        check_shape(found, a_device(OLD))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", ""])
def test_only_get_and_head_are_answered(method: str) -> None:
    found = decide(a_device(OLD, method=method), NEW, KNOWN)
    assert (found.status, found.code) == (405, "method")
    assert ("Allow", "GET, HEAD") in found.headers
    assert decide(a_device(OLD, method="HEAD"), NEW, KNOWN) == decide(a_device(OLD), NEW, KNOWN)


def test_filesystems_and_other_chips_get_nothing() -> None:
    assert answer(a_device(OLD, mode="filesystem")) == (403, "filesystem", None)
    assert answer(parsed(PICO)) == (403, "platform", None)
    assert answer(parsed(ESP32)) == (403, "platform", None)
    assert answer(replace(parsed(PICO), version="1.2.3")) == (403, "platform", None)


def test_curl_gets_the_very_file_that_was_signed() -> None:
    assert answer(parsed(CURL)) == (200, "update", "raw")
    packed = build("2.0", "gzip")[0]
    assert answer(parsed(CURL), wanted=packed) == (200, "update", "gzip")


def test_a_device_may_ask_for_the_version_alone() -> None:
    for state, expected in ((KNOWN, "1.2.3"), (replace(KNOWN, held=True), "1.2.2")):
        found = decide(a_device(OLD, mode="version"), NEW, state)
        check_shape(found, a_device(OLD))
        assert (found.status, found.form, found.body) == (200, None, expected.encode() + b"\n")
        assert ("X-Version", expected) in found.headers
    told = decide(a_device(None, mode="version", version="1.0\u00e4"), NEW, replace(KNOWN, held=True))
    assert ("X-Version", "1.0?") in told.headers
    assert answer(a_device(None, mode="version"), replace(KNOWN, held=True)) == (304, "held", None)
    assert answer(a_device(OLD, mode="version"), wanted=None) == (404, "missing", None)


def test_a_rollout_holds_back_whom_it_has_not_reached() -> None:
    held = replace(KNOWN, held=True)
    assert answer(a_device(OLD), held) == (304, "held", None)
    assert answer(a_device(NEW), held) == (304, "current", None)


def test_each_answer_about_a_device_has_a_reason_in_words() -> None:
    for told, state, reason in (
        (OLD, KNOWN, "offered"),
        (NEW, replace(KNOWN, behind="halted"), "halted"),
        (NEW, KNOWN, "current"),
        (OLD, replace(KNOWN, held=True, behind="not-included"), "not-included"),
        (OLD, replace(KNOWN, held=True), "not-included"),
        (NEW, replace(KNOWN, held=True, behind="halted"), "current"),
        (OLD, replace(KNOWN, pinned=True, behind="halted"), "pinned"),
        (OLD, replace(KNOWN, deliveries=9), "looping"),
        (OLD, replace(KNOWN, unproven=True), "unproven"),
    ):
        found = decide(a_device(told), NEW, state)
        assert found.answered == reason
        assert reason in REASONS
    assert decide(a_device(OLD, mode="version"), NEW, KNOWN).answered == "", "that says nothing of the device"
    assert {row.code for row in _TABLE} - ANSWERED.keys() == {"method", "missing", "version"}


def test_a_pinned_device_stays_as_it_is_and_is_told_why() -> None:
    for state in (replace(KNOWN, pinned=True), replace(KNOWN, pinned=True, held=True, unproven=True, deliveries=9)):
        assert answer(a_device(OLD), state) == (304, "pinned", None)
        assert answer(a_device(NEW), state) == (304, "current", None)
        found = decide(a_device(OLD), NEW, state)
        assert "stays with 1.2.2 until otaseal devices unpin" in found.reason
        told = decide(a_device(OLD, mode="version"), NEW, state)
        assert ("X-Version", "1.2.2") in told.headers, "it is not told of what it does not get"
    assert answer(a_device(None, mode="version"), replace(KNOWN, pinned=True)) == (304, "pinned", None)


def test_a_loop_is_broken_after_three_deliveries_and_raises_an_alarm() -> None:
    for deliveries in range(6):
        found = decide(a_device(OLD), NEW, replace(KNOWN, deliveries=deliveries))
        assert (found.status, found.alarm) == ((200, False) if deliveries < 3 else (304, True))
    assert not decide(a_device(NEW), NEW, replace(KNOWN, deliveries=9)).alarm


def test_who_has_to_prove_a_name_and_does_not_gets_no_firmware_and_is_told_what_else() -> None:
    unproven = replace(KNOWN, unproven=True)
    assert answer(a_device(OLD), unproven) == (403, "proof", None)
    assert answer(a_device(OLD), replace(unproven, deliveries=9)) == (403, "proof", None)
    assert answer(a_device(NEW), unproven) == (304, "current", None)
    assert answer(a_device(OLD), replace(unproven, held=True)) == (304, "held", None)
    assert answer(a_device(OLD, mode="version"), unproven) == (200, "version", None)


def test_an_image_for_a_larger_flash_is_not_sent() -> None:
    assert answer(a_device(OLD, chip_size=2**20)) == (403, "chip_size", None)
    assert answer(a_device(OLD, chip_size=2**22)) == (200, "update", "gzip")


def test_an_image_for_another_flash_mode_is_not_sent_raw() -> None:
    raw_only = build("1.2.4", "raw")[0]
    assert answer(a_device(OLD, FlashMode.DIO), wanted=raw_only) == (200, "update", "raw")
    for mode in set(FlashMode) - {FlashMode.DIO}:
        assert answer(a_device(OLD, mode), wanted=raw_only) == (403, "flash_mode", None)


def test_a_gzip_changes_the_flash_mode_to_fewer_lines_only() -> None:
    sent = {mode: answer(a_device(OLD, mode)) for mode in FlashMode}
    assert sent == {
        FlashMode.QIO: (200, "update", "gzip"),
        FlashMode.QOUT: (403, "flash_mode", None),
        FlashMode.DIO: (200, "update", "gzip"),
        FlashMode.DOUT: (403, "flash_mode", None),
    }


def test_a_gzip_goes_only_to_cores_that_start_from_one() -> None:
    packed = build("2.0", "gzip")[0]
    ancient = build("1.0", core="2.7.4")[0]
    state = State(known_images([ancient, OLD, packed]))
    assert answer(a_device(ancient), state, packed) == (403, "gzip_core", None)
    assert answer(a_device(None), state, packed) == (403, "gzip_core", None)
    assert answer(a_device(OLD), state, packed) == (200, "update", "gzip")


@pytest.mark.parametrize("core", ["3.0.0", "3.0.1", "3.1.0", "3.1.1", "3.0+git.f946290e"])
def test_a_gzip_goes_to_every_core_that_starts_from_one(core: str) -> None:
    packed, running = build("2.0", "gzip", core=core)[0], build("1.0", core=core)[0]
    assert answer(a_device(running), State(known_images([running, packed])), packed) == (200, "update", "gzip")


@pytest.mark.parametrize("core", ["2.6.3", "2.7.0", "2.7+git.3969889e"])
def test_other_cores_are_given_the_raw_form_and_no_gzip(core: str) -> None:
    both, packed, running = (build("2.0")[0], build("2.0", "gzip")[0], build("1.0", "raw", core=core)[0])
    state = State(known_images([running, both]))
    assert answer(a_device(running), state, both) == (200, "update", "raw")
    assert answer(a_device(running), state, packed) == (403, "gzip_core", None)


def test_what_does_not_fit_is_not_sent_and_a_gzip_may_fit_where_raw_does_not() -> None:
    big = build("3.0", code_size=100, embedded=bytes(60 * KIB))[0]
    state = State(known_images([OLD, big]))
    assert answer(a_device(OLD, free_space=64 * KIB), state, build("3.0", "raw", embedded=bytes(60 * KIB))[0]) == (
        403,
        "space",
        None,
    )
    assert answer(a_device(OLD, free_space=72 * KIB), state, big) == (200, "update", "gzip")
    assert answer(a_device(OLD, free_space=4 * KIB), state, big) == (403, "space", None)
    underflow = 2**32 - 4096  # the filesystem begins inside the sketch
    assert answer(a_device(OLD, free_space=underflow), state, big) == (403, "space", None)


devices = st.fixed_dictionaries(
    {
        "core": st.sampled_from(sorted(core for core in CORES | OTHER_CORES if core > "2.6")),
        "mode": st.sampled_from(FlashMode),
        "running_kib": st.integers(1, 60),
        "fs_sectors": st.integers(2, 80),
        "flash_size": st.sampled_from(sorted(esp8266.FLASH_SIZES.values())),
        "listed": st.booleans(),
    }
)
releases = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["qio", "qout", "dio", "dout"]),
        "size": st.sampled_from(["512K", "1M", "4M"]),
        "core": st.sampled_from(sorted(core for core in CORES | OTHER_CORES if core > "3")),
        "zeros": st.sampled_from([0, 20, 60]),
        "code": st.sampled_from([1, 40]),
        "kinds": st.sampled_from(["raw", "gzip", "raw gzip"]),
    }
)


@pytest.mark.proof
@limits(max_examples=250, deadline=None)
@given(devices, releases)
def test_nothing_is_sent_that_the_device_would_refuse_or_not_survive(device: Any, wanted: Any) -> None:
    """A truthful device on any core, chip and layout; one that runs an unlisted build may refuse, but survives."""
    old = build("0.9", "raw", core=device["core"], code_size=device["running_kib"] * KIB)[0]
    new, files = build(
        "1.0",
        wanted["kinds"],
        mode=wanted["mode"],
        size=wanted["size"],
        core=wanted["core"],
        code_size=wanted["code"] * KIB,
        embedded=bytes(wanted["zeros"] * KIB),
    )
    used = -(-old.sketch_size // 4096) * 4096
    fs_start = device["fs_sectors"] * 4096
    request = a_device(
        old, device["mode"], free_space=(fs_start - used) % 2**32, chip_size=device["flash_size"], sketch_md5=None
    )
    request = replace(request, sketch_md5=old.sketch_md5[device["mode"]])
    found = decide(request, new, State(known_images([old, new] if device["listed"] else [new])))
    check_shape(found, request)
    if not found.form:
        assert found.status == 403
        return
    place = {"mode": device["mode"], "flash_size": device["flash_size"], "fs_start": fs_start}
    flash, setup = room(device["core"], make_rsa(2048), running=old.sketch_size, **place)
    outcome = judge(flash, files[found.form.blob], setup)
    assert not outcome.bricks, outcome.reason
    if device["listed"]:
        assert outcome.boots, outcome.reason
        assert outcome.flash[fs_start:] == flash[fs_start:], "the filesystem is as it was"
    else:
        assert outcome.boots or outcome.fact == "F7", outcome.reason


@pytest.mark.parametrize(("chip", "kind"), [(FlashMode.DIO, "raw"), (FlashMode.DIO, "gzip"), (FlashMode.QIO, "gzip")])
def test_a_device_that_updates_and_asks_again_is_current(chip: FlashMode, kind: str) -> None:
    """No loop: the MD5 that the chip reports after the update is known, also where a gzip has changed its mode."""
    new, files = build("1.2.4", kind)
    found = decide(a_device(OLD, chip), new, KNOWN)
    assert found.form
    data = files[found.form.blob]
    assert judge_on(StockDevice("3.1.2", public_pem(make_rsa(2048)), chip), data).boots
    payload = signed_image.parse(data).payload
    copied = payload if kind == "raw" else gzip_payload.parse(payload).content
    started = FlashMode(copied[2])  # the boot ROM takes the mode from the header that eboot has copied
    on_flash = esp8266.parse(copied)
    assert answer(a_device(None, sketch_md5=on_flash.sketch_md5(started)), KNOWN, new) == (304, "current", None)


def test_known_images_tell_release_and_flash_mode() -> None:
    known = known_images([OLD, NEW])
    assert len(known) == 8
    for wanted in (OLD, NEW):
        for mode in FlashMode:
            assert known[wanted.sketch_md5[mode]] == Running(wanted, mode)


def test_a_device_that_asks_for_the_version_is_told_what_it_has() -> None:
    asking = a_device(None, mode="version", version="1.2.2")
    assert decide(asking, NEW, KNOWN).reason.endswith("and has 1.2.2")
    assert decide(replace(asking, version=None), NEW, KNOWN).reason.endswith("and has none that it names")


def test_the_running_sketch_takes_the_room_that_it_says() -> None:
    """An unknown sketch: what it says of its size decides what fits beside it."""
    form = NEW.form("raw")
    assert form is not None
    room = -(-form.size // 4096) * 4096
    fits = a_device(None, sketch_md5=MD5, sketch_size=4096, free_space=room)
    assert answer(fits)[0] == 200
    assert answer(replace(fits, free_space=4096))[1] == "space"
    assert answer(replace(fits, sketch_size=None, free_space=room))[0] == 200
