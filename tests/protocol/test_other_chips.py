"""What devices of other chips are answered: a Pico by its version (F57), an ESP32 by MD5 and slot (F90, F92)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.chips.pico import BLOCK, staging_size
from otaseal.protocol.answers import Decision
from otaseal.protocol.decisions import LOOP_LIMIT, State, decide
from otaseal.protocol.request import UpdateRequest
from otaseal.protocol.running import known_images
from otaseal.release.records import Origin, Release
from support import images, other_images
from support.by_bytes import describe
from support.images import Signer
from support.pico_images import build_image
from support.rsa_keys import make_rsa

SIGNER = Signer(make_rsa(2048))
PICO = UpdateRequest("GET", "pico", version="1.2.2", mac="28:CD:C1:00:11:22")
WITH_LIBRARY = replace(PICO, counter=3)


def release(version: str = "1.2.3", kinds: str = "raw gzip", raw: bytes | None = None) -> Release:
    from otaseal.image import gzip_payload, signed_image

    raw = build_image("rp2350") if raw is None else raw
    payloads = [raw if kind == "raw" else gzip_payload.compress(raw) for kind in kinds.split()]
    files = [signed_image.sign(payload, SIGNER) for payload in payloads]
    return describe(files, Origin("blink", version, "2026-02-01T12:00:00Z"), [SIGNER.public_key])


NEW = release()


def answer(request: UpdateRequest, wanted: Release = NEW, **state: object) -> Decision:
    return decide(request, wanted, State(known_images([wanted, release("1.2.2")]), **state))  # type: ignore[arg-type]


def test_a_pico_is_updated_and_told_that_it_is_current_by_its_version() -> None:
    found = answer(PICO)
    assert (found.status, found.code) == (200, "update")
    assert "1.2.2 to 1.2.3" in found.reason
    assert (answer(replace(PICO, version="1.2.3")).status, answer(replace(PICO, version=None)).status) == (304, 200)


@pytest.mark.parametrize(("request_", "kind"), [(PICO, "raw"), (WITH_LIBRARY, "gzip")])
def test_a_gzip_goes_to_devices_with_the_library_only(request_: UpdateRequest, kind: str) -> None:
    form = answer(request_).form
    assert form is not None
    assert form.kind == kind


def test_a_release_that_is_gzip_only_is_not_sent_to_a_core_that_may_be_too_old() -> None:
    packed = release(kinds="gzip")
    assert (answer(PICO, packed).status, answer(PICO, packed).code) == (403, "gzip_core")
    assert answer(WITH_LIBRARY, packed).status == 200


SAYING = [
    release(version, raw=build_image("rp2350", code=version.encode() * 800 + b"sketch-md5\0"))
    for version in ("1.2.2", "1.2.3")
]


def test_a_pico_whose_library_says_an_md5_is_judged_by_it_as_other_chips_are() -> None:
    old, new = SAYING
    known = State(known_images(SAYING))
    device = replace(WITH_LIBRARY, capabilities=frozenset({"patch1"}), sketch_md5=old.sketch_md5[0])
    assert decide(replace(device, version="1.2.3"), new, known).status == 200, "a stale version"
    assert decide(replace(device, sketch_md5=new.sketch_md5[0], version="0.1"), new, known).status == 304
    found = decide(device, new, known)
    assert found.patch is not None
    assert (found.patch.base_md5, found.patch.target.kind) == (old.sketch_md5[0], "raw")
    assert decide(replace(device, capabilities=None), new, known).patch is None
    assert decide(replace(device, sketch_md5="0" * 32), new, known).patch is None


def test_no_patch_makes_an_image_that_only_a_gzip_leaves_room_for() -> None:
    old = SAYING[0]
    tight = replace(SAYING[1], filesystem=(0x100000, staging_size(SAYING[1].forms[0].size) - BLOCK))
    device = replace(WITH_LIBRARY, capabilities=frozenset({"patch1"}), sketch_md5=old.sketch_md5[0])
    found = decide(device, tight, State(known_images([old, tight])))
    assert (found.form and found.form.kind, found.patch) == ("gzip", None)


def test_no_family_gets_the_release_of_another() -> None:
    esp8266 = release(raw=images.build_image())
    for family, wanted in (("pico", esp8266), ("esp32", esp8266), ("esp8266", NEW), ("esp32", NEW)):
        found = answer(replace(PICO, family=family), wanted)
        assert (found.status, found.code) == (403, "platform"), (family, wanted.chip)
        assert wanted.chip in found.reason
    assert answer(UpdateRequest("GET")).status == 200, "a client that is no device is given what the build made"


def test_a_rollout_and_the_loop_breaker_count_for_it_too() -> None:
    assert answer(PICO, held=True).code == "held"
    assert answer(PICO, deliveries=LOOP_LIMIT).code == "loop"
    assert answer(replace(PICO, mode="filesystem")).code == "filesystem"
    assert answer(replace(PICO, mode="version")).code == "version"


ESP32 = release(raw=other_images.esp32_image(), kinds="raw")
ESP32_OLD = release("1.2.2", raw=other_images.esp32_image(constants=b"older"), kinds="raw")
ESP32_S3 = release("1.2.3", raw=other_images.esp32_image(other_images.ESP32_S3), kinds="raw")
AN_ESP32 = UpdateRequest("GET", "esp32", mac="24:0A:C4:00:11:22", free_space=0x140000, chip_size=2**22)


def answer_esp32(wanted: Release = ESP32, **claims: object) -> tuple[int, str]:
    request = replace(AN_ESP32, **claims)  # type: ignore[arg-type]
    found = decide(request, wanted, State(known_images([ESP32, ESP32_OLD, ESP32_S3])))
    assert (found.form is not None) == (found.status == 200)
    return found.status, found.code


def test_an_esp32_is_told_that_it_is_current_by_its_md5_or_where_it_says_none_by_its_version() -> None:
    assert answer_esp32(sketch_md5=ESP32.sketch_md5[0]) == (304, "current")
    assert answer_esp32(sketch_md5=ESP32.sketch_md5[0], version="1.2.2") == (304, "current")
    assert answer_esp32(version="1.2.3") == (304, "current")
    assert answer_esp32(sketch_md5=ESP32_OLD.sketch_md5[0], version="1.2.3") == (200, "update"), "a stale version"
    assert answer_esp32(sketch_md5="0" * 32) == (200, "update")
    assert answer_esp32() == (200, "update")


def test_an_esp32_has_the_room_of_its_other_slot() -> None:
    size = ESP32.forms[0].size
    for free, expected in ((size, (200, "update")), (size - 1, (403, "space")), (0, (403, "space"))):
        # What runs takes no room from the other slot.
        assert answer_esp32(sketch_md5=ESP32_OLD.sketch_md5[0], sketch_size=size, free_space=free) == expected
    assert answer_esp32(free_space=None) == (200, "update")
    # The library writes the image and nothing of what is behind it.
    image = ESP32.sketch_size
    for free, expected in ((image, (200, "update")), (image - 1, (403, "space"))):
        assert answer_esp32(counter=0, free_space=free) == expected


def test_an_esp32_is_sent_no_image_for_another_chip_of_its_family() -> None:
    assert answer_esp32(ESP32_S3, sketch_md5=ESP32_OLD.sketch_md5[0]) == (403, "platform")
    assert answer_esp32(sketch_md5=ESP32_S3.sketch_md5[0], mode="version") == (403, "platform")
    assert answer_esp32(ESP32_S3, version="1.2.2") == (200, "update"), "no header says which chip it is"


def test_an_esp32_goes_by_no_flash_mode_and_no_size_in_the_header() -> None:
    large = release("1.2.4", raw=other_images.esp32_image(flash=(0, 0x4F)), kinds="raw")
    assert answer_esp32(large, sketch_md5=ESP32_OLD.sketch_md5[0], chip_size=2**21) == (200, "update")
