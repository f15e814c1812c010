"""A channel's pointer: changed by who saw it last, rolled back, bounded, and an alarm when it is damaged."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import (
    ConflictError,
    CorruptStoreError,
    InputError,
    NotFoundError,
)
from otaseal.release.channels import MAX_HISTORY, Channel, Pointer
from otaseal.store.check import check
from otaseal.store.store import Store
from support.filled_store import either, either_filled, everything, filled, pointer_file, store

__all__ = ["either", "either_filled", "filled", "store"]


def of_before() -> bytes:
    """Return a pointer file of format 1, which has no checksum that would catch everything first."""
    fields = json.loads(Channel(Pointer("1")).to_json())
    del fields["sha256"]
    return json.dumps({**fields, "format": 1}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_a_channel_is_changed_by_who_saw_it_last(either_filled: Store) -> None:
    before = everything(either_filled)
    for expected in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"has generation 2, not {expected}"):
            either_filled.point("blink", "stable", Pointer("2.0.0"), expected=expected)
        with pytest.raises(ConflictError):
            either_filled.rollback("blink", "stable", expected=expected)
    with pytest.raises(NotFoundError, match="no release '3'"):
        either_filled.point("blink", "stable", Pointer("3"), expected=2)
    with pytest.raises(NotFoundError, match="no channel 'nightly'"):
        either_filled.rollback("blink", "nightly", expected=0)
    assert everything(either_filled) == before


def test_rollbacks_go_back_to_what_all_devices_had(either_filled: Store) -> None:
    either_filled.point("blink", "stable", Pointer("2.0.0", 10, "s"), expected=2)
    halted = either_filled.point("blink", "stable", Pointer("2.0.0", 10, "s", halted=True), expected=3)
    assert (halted.previous, halted.history) == ("1.1.0", ("1.0.0", "1.1.0"))
    overtaken = either_filled.point("blink", "stable", Pointer("1.0.0", 50), expected=4)
    assert overtaken.previous == "1.1.0", "a halted rollout is nothing to go back to"
    assert either_filled.rollback("blink", "stable", expected=5) == Channel(Pointer("1.1.0"), 6, ("1.0.0",))
    assert either_filled.rollback("blink", "stable", expected=6) == Channel(Pointer("1.0.0"), 7, ())
    with pytest.raises(InputError, match=r"no version before '1\.0\.0'"):
        either_filled.rollback("blink", "stable", expected=7)
    assert either_filled.current("blink", "stable") == Channel(Pointer("1.0.0"), 7, ())


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3", "back"]), st.sampled_from([0, 10, 100]), st.booleans())))
def test_a_channel_survives_its_file_and_its_history_is_bounded(steps: list[tuple[str, int, bool]]) -> None:
    channel = Channel(Pointer("0"))
    for version, percent, halted in steps * 3:
        if version != "back":
            channel = channel.advanced(Pointer(version, percent, "s", halted))
        elif channel.previous is not None:
            channel = channel.rolled_back()
            assert channel.pointer.complete
        assert len(channel.history) <= MAX_HISTORY
        assert Channel.from_json(channel.to_json()) == channel


@given(st.binary(max_size=300) | st.just(Channel(Pointer("1"), 3, ("0",)).to_json()), st.data())
def test_any_bytes_are_a_channel_or_refused(data: bytes, draw: st.DataObject) -> None:
    if data:
        place = draw.draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw.draw(st.binary(max_size=3)) + data[place + draw.draw(st.integers(0, 3)) :]
    try:
        channel = Channel.from_json(data)
    except InputError:
        return
    assert channel.to_json() == data or json.loads(data)["format"] == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 5000,
        b"{}",
        Channel(Pointer("1")).to_json() + b" ",
        Channel(Pointer("1")).to_json().replace(b'"format":2', b'"format":1'),
        Channel(Pointer("1")).to_json().replace(b'"format":2', b'"format":"3"'),
        re.sub(rb',"sha256":"[0-9a-f]{64}"', b"", Channel(Pointer("1")).to_json()),
        of_before().replace(b'"history":[]', b'"history":"12"'),
        of_before().replace(b'"history":[]', b'"history":[1]'),
        of_before().replace(b'"history":[]', b'"history":null'),
        of_before().replace(b'"version":"1"', b'"version":"../1"'),
        of_before().replace(b'"version":"1"', b'"version":1'),
        of_before().replace(b'"percent":100', b'"percent":101'),
        of_before().replace(b'"percent":100', b'"percent":true'),
        of_before().replace(b'"halted":false', b'"halted":0'),
        of_before().replace(b'"generation":1', b'"generation":0'),
        of_before().replace(b'"salt":""', b'"salt":"/"'),
        b" " * 9000,
    ],
)
def test_a_damaged_pointer_is_an_alarm(filled: Store, data: bytes) -> None:
    pointer_file(filled).write_bytes(data)
    for attempt in (
        lambda: filled.current("blink", "stable"),
        lambda: filled.point("blink", "stable", Pointer("1.0.0"), expected=2),
        lambda: filled.rollback("blink", "stable", expected=2),
    ):
        with pytest.raises(CorruptStoreError, match="channel 'stable' of 'blink'"):
            attempt()
    assert pointer_file(filled).read_bytes() == data
    assert [one for one in check(filled).problems if "channel 'stable' of 'blink'" in one]
