"""Which image of a release for several boards a device is given: by what it runs, what it says, or its family."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.chips.families import FAMILY_OF
from otaseal.image.firmware import Firmware
from otaseal.image.manifest import Claim
from otaseal.protocol.answers import Decision
from otaseal.protocol.decisions import State, decide
from otaseal.protocol.request import UpdateRequest, parse_request
from otaseal.protocol.running import known_images
from otaseal.release.records import Origin, Release, combine, describe
from support.board_images import BOARDS, board_key, build, signed
from support.rsa_keys import make_rsa

KEY = make_rsa(2048)


def release(version: str, *boards: str) -> Release:
    images = []
    for board in boards or BOARDS:
        claim = Claim("blink", board, version)
        files = [Firmware(signed(build(claim, KEY), claim, KEY))]
        images.append(describe(files, Origin("blink", version, "2026-01-31T12:00:00Z", board), [KEY.public_key()]))
    return combine(images)


OLD, NEW = release("1.0"), release("1.1")
KNOWN = State(known_images([OLD, NEW]))


def of_board(wanted: Release, board: str) -> Release:
    image = wanted.for_board(board_key(board))
    assert image is not None
    return image


def device(of: str, **claims: object) -> UpdateRequest:
    request = UpdateRequest("GET", FAMILY_OF[BOARDS[of]].name, version="1.0", free_space=0x200000)
    return replace(request, **claims)  # type: ignore[arg-type]


def sent(decision: Decision) -> str | None:
    """Return the board whose image is sent."""
    return next((image.board for image in NEW.images if image.forms[0].blob == decision.blob), None)


@pytest.mark.parametrize("board", BOARDS)
def test_a_device_that_says_its_board_is_given_its_own(board: str) -> None:
    assert sent(decide(device(board, board=board_key(board)), NEW, KNOWN)) == board


@pytest.mark.parametrize("board", ["nodemcuv2", "d1_mini", "esp32dev"])
def test_what_a_device_runs_tells_its_board_whatever_it_says(board: str) -> None:
    for mode, md5 in enumerate(of_board(OLD, board).runs):
        found = decide(device(board, sketch_md5=md5, sketch_size=20_000, board="f" * 16), NEW, KNOWN)
        fits = of_board(NEW, board).flash_mode in (None, mode) or len(of_board(OLD, board).runs) == 1
        assert sent(found) == (board if fits else None), found.reason
    now = decide(device(board, sketch_md5=of_board(NEW, board).runs[0]), NEW, KNOWN)
    assert (now.status, now.code) == (304, "current")


def test_the_family_tells_where_it_has_one_board_only() -> None:
    assert sent(decide(device("rpipicow"), NEW, KNOWN)) == "rpipicow"
    assert sent(decide(device("esp32dev"), NEW, State())) == "esp32dev"
    lost = decide(device("d1_mini"), NEW, State())
    assert (lost.status, lost.code) == (403, "board")
    assert lost.reason.startswith(
        "the release is for d1_mini (esp8266), esp32dev (esp32), nodemcuv2 (esp8266), rpipicow"
    )
    assert "nothing tells which of them this device is" in lost.reason


def test_a_board_that_the_release_does_not_have_gets_nothing() -> None:
    some = release("1.1", "nodemcuv2", "esp32dev")
    for request, why in (
        (device("rpipicow", version="0.9"), "nothing tells"),
        (device("rpipicow"), "runs 1.0 of the board rpipicow"),
        (device("rpipicow", version="0.9", board=board_key("rpipicow")), f"its board is {board_key('rpipicow')}"),
        (device("d1_mini", sketch_md5=of_board(OLD, "d1_mini").runs[2]), "runs 1.0 of the board d1_mini"),
    ):
        found = decide(request, some, KNOWN)
        assert (found.status, found.code) == (403, "board")
        assert why in found.reason


def test_a_release_for_one_board_is_not_given_to_another() -> None:
    one = release("1.1", "nodemcuv2")
    assert decide(device("d1_mini", board=board_key("d1_mini")), one, KNOWN).code == "board"
    assert decide(device("nodemcuv2", board=board_key("nodemcuv2")), one, State()).code == "update"
    assert decide(device("nodemcuv2"), one, State()).code == "update"
    for_any = replace(one, board="", board_id=None)
    assert decide(device("d1_mini", board=board_key("d1_mini")), for_any, State()).code == "update"


def test_a_version_that_several_boards_say_tells_the_release_and_no_board() -> None:
    pico = of_board(OLD, "rpipicow")
    twice = combine([pico, replace(pico, board="rpipico2w", board_id="1" * 16)])
    known = known_images([twice])
    assert known["version:1.0"].release.others
    found = decide(device("rpipicow", counter=0), release("1.1", "rpipicow", "esp32dev"), State(known))
    assert (found.status, found.reason[:10]) == (200, "1.0 to 1.1")


def test_clients_that_are_no_device_name_the_board() -> None:
    assert decide(UpdateRequest("GET"), NEW, KNOWN).code == "board"
    assert sent(decide(UpdateRequest("GET", board=board_key("esp32dev")), NEW, KNOWN)) == "esp32dev"


def test_the_header_of_the_library() -> None:
    read = parse_request("GET", [(b"X-Otaseal-Board", board_key("esp32dev").upper().encode())])
    assert read.board == board_key("esp32dev")
    assert parse_request("GET", [(b"X-Otaseal-Board", b"0" * 16)]).board is None
