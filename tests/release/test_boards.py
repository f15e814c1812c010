"""A release for several boards: one image each, admitted, recorded and compared as one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from otaseal.errors import InputError, LaterFormatError
from otaseal.image.firmware import Firmware
from otaseal.image.manifest import Claim
from otaseal.release import record_json
from otaseal.release.admission import Policy, admit
from otaseal.release.records import MAX_BOARDS, Origin, Release, combine
from otaseal.release.stranding import Consent, Group, check
from support.board_images import BOARDS, board_key, build, signed
from support.rsa_keys import make_rsa

KEY = make_rsa(2048)
NAMES = tuple(BOARDS)
ORIGIN = Origin("blink", "1.2.3", "2026-01-31T12:00:00Z")


def files(*boards: str, version: str = "1.2.3", counter: int = 7) -> list[Firmware]:
    claims = [Claim("blink", board, version, counter, 1_700_000_000) for board in boards]
    return [Firmware(signed(build(claim, KEY), claim, KEY)) for claim in claims]


def admitted(given: list[Firmware], *names: str, current: Release | None = None, version: str = "1.2.3") -> Release:
    policy = Policy("blink", [KEY.public_key()])
    return admit(given, replace(ORIGIN, version=version), policy, current, names)


ALL = admitted(files(*NAMES), *NAMES)


def test_each_board_has_its_own_image_in_one_record() -> None:
    assert {image.board: image.chip for image in ALL.images} == BOARDS
    assert [image.board for image in ALL.images] == sorted(NAMES)
    assert len(ALL.files) == len({form.blob for form in ALL.files}) == len(NAMES)
    assert set(ALL.runs) == {name for image in ALL.images for name in image.runs}
    for name in NAMES:
        image = ALL.for_board(board_key(name))
        assert image == admitted(files(name), name)
    assert ALL.for_board("0" * 16) is ALL.for_board(None) is None


def test_the_record_comes_back_and_nothing_else_is_read() -> None:
    data = record_json.serialise(ALL)
    assert record_json.parse(data) == ALL
    values = json.loads(data)
    assert (values["format"], values["version"], len(values["boards"])) == (4, "1.2.3", len(NAMES))
    assert admitted(files(*reversed(NAMES)), *NAMES) == ALL
    changes: list[Any] = [
        {"boards": values["boards"][:1]},
        {"boards": values["boards"][::-1]},
        {"boards": values["boards"] * 5},
        {"boards": [*values["boards"], values["boards"][0]]},
        {"boards": [{**values["boards"][0], "key_fingerprint": "SHA256:" + "0" * 64}, *values["boards"][1:]]},
        {"boards": [{**values["boards"][0], "board": "", "board_id": None}, *values["boards"][1:]]},
        {"boards": [{**values["boards"][0], "version": "1.2.3"}, *values["boards"][1:]]},
        {"boards": [{**values["boards"][0], "chip": ["esp8266"]}, *values["boards"][1:]]},
        {"boards": [{**values["boards"][0], "chip": {}}, *values["boards"][1:]]},
        {"boards": "all"},
        {"extra": 1},
    ]
    for change in changes:
        with pytest.raises(InputError, match="release record has"):
            record_json.from_json({**values, **change})
    with pytest.raises(LaterFormatError):
        record_json.from_json({**values, "format": 5})
    assert json.loads(record_json.serialise(ALL.images[0]))["format"] == 2


def test_boards_without_a_name_are_known_by_their_id() -> None:
    release = admitted(files("rpipicow", "esp32dev"), "esp32dev")
    assert {image.board: image.board_key for image in release.images} == {
        "": board_key("rpipicow"),
        "esp32dev": board_key("esp32dev"),
    }


def test_files_of_several_boards_have_to_say_which() -> None:
    with pytest.raises(InputError, match="no file is for the board 'esp01'"):
        admitted(files("rpipicow", "esp32dev"), "esp01", "esp32dev")
    with pytest.raises(InputError, match="no file is for the board 'esp32dev'"):
        admitted(files("rpipicow"), "rpipicow", "esp32dev")
    with pytest.raises(InputError, match="not the raw and the gzip form of one build"):
        admitted([*files("d1_mini"), *files("d1_mini")], "d1_mini")
    assert admitted(files("d1_mini")).board_key == board_key("d1_mini")


def test_the_images_of_a_release_share_version_counter_and_key() -> None:
    with pytest.raises(InputError, match="differ in security counter: '7' for 'esp32dev', '8' for 'rpipicow'"):
        admitted([*files("esp32dev"), *files("rpipicow", counter=8)], "esp32dev", "rpipicow")
    with pytest.raises(InputError, match="the manifest is for version"):
        admitted([*files("esp32dev"), *files("rpipicow", version="1.2.4")], "esp32dev", "rpipicow")
    first = ALL.images[0]
    with pytest.raises(InputError, match="are the same, and devices could not be told apart"):
        combine([first, replace(first, board="other", board_id="12" * 8)])
    with pytest.raises(InputError, match="has two images"):
        combine([first, replace(first, sketch_md5=())])
    many = [replace(first, board=f"b{n}", board_id=f"{n:016x}", sketch_md5=()) for n in range(1, MAX_BOARDS + 2)]
    with pytest.raises(InputError, match="release record has"):
        record_json.parse(record_json.serialise(combine(many)))
    assert record_json.parse(record_json.serialise(combine(many[1:])))


def test_a_later_release_is_compared_board_by_board() -> None:
    more = admitted(files(*NAMES, version="1.2.4"), *NAMES, current=ALL, version="1.2.4")
    fewer = admitted(files("esp32dev", version="1.2.4"), "esp32dev", current=ALL, version="1.2.4")
    assert (len(more.images), len(fewer.images)) == (4, 1)
    one = admitted(files("esp32dev"), "esp32dev")
    with pytest.raises(InputError, match=r"board 'rpipicow', release 1\.2\.3 is for 'esp32dev'|chip 'rp2040'"):
        admitted(files("rpipicow", version="1.2.4"), "rpipicow", current=one, version="1.2.4")
    assert admitted(files(*NAMES, version="1.2.4"), *NAMES, current=one, version="1.2.4").others
    with pytest.raises(InputError, match="security counter 6 is below 7"):
        admitted(files("rpipicow", "d1_mini", version="1.2.4", counter=6), current=one, version="1.2.4")


def test_devices_of_a_board_that_is_left_out_are_left_behind_only_by_consent() -> None:
    fleet = [Group(image, 3) for image in ALL.images] + [Group(None, 2)]
    fewer = combine([image for image in ALL.images if image.board != "rpipicow"])
    newer = replace(fewer, version="1.2.4")
    with pytest.raises(InputError, match=r"'1\.2\.4' has no image for the board of 3 devices seen"):
        check(newer, ALL, fleet, Consent())
    assert check(newer, ALL, fleet, Consent(strand_devices=True)).as_event() == {"stranded_devices": 3}
    assert check(replace(ALL, version="1.2.4"), ALL, fleet, Consent()).stranded == 0
