"""What is damaged, gone, older than it should be or of a later otaseal in a store: told apart, and found by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from otaseal.errors import CorruptStoreError, InputError, LaterFormatError
from otaseal.release.archive_record import ArchiveRecord
from otaseal.release.channels import Channel, Pointer
from otaseal.release.record_json import parse, serialise
from otaseal.store.check import check, sweep, tidy
from otaseal.store.documents import blob_name
from otaseal.store.store import Store
from support.command import Command, otaseal  # noqa: F401
from support.releases import make_archive, make_release

FIRST, SECOND = make_release("1.0.0", b"first"), make_release("1.1.0", b"second")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two releases, which stable has had, and certificates, given out twice."""
    made = Store.create(tmp_path / "store")
    made.publish(FIRST, [b"first"], "alice")
    made.publish(SECOND, [b"second"], "alice")
    made.point("blink", "stable", Pointer("1.0.0"), expected=0, by="alice")
    made.point("blink", "stable", Pointer("1.1.0", 10, "salt"), expected=1, by="alice")
    for number, data in enumerate((b"certs", b"other")):
        made.publish_archive("blink", "stable", make_archive(data), data, expected=number, by="alice")
    return made


def of_format_1(data: bytes) -> bytes:
    """Return what the otaseal before wrote: no checksum."""
    fields = json.loads(data)
    del fields["sha256"]
    return json.dumps({**fields, "format": 1}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


POINTERS = ["channels/stable.json", "certs/stable.json"]


def pointer(store: Store, name: str) -> Path:
    return store.directory / "products" / "blink" / name


@pytest.mark.parametrize("name", POINTERS)
def test_no_turned_bit_makes_another_pointer(store: Store, name: str) -> None:
    path = pointer(store, name)
    whole = path.read_bytes()
    parse_it = Channel.from_json if "channels" in name else ArchiveRecord.from_json
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            with pytest.raises(InputError):
                parse_it(bytes(damaged))
    path.write_bytes(whole.replace(b'"generation":2', b'"generation":3'))
    with pytest.raises(CorruptStoreError, match="does not have its checksum") as caught:
        store.current("blink", "stable") if "channels" in name else store.archive("blink", "stable")
    assert f"restore '{path}' from a backup; or remove it" in caught.value.hint
    assert any("does not have its checksum" in one for one in check(store).problems)


def test_pointers_of_before_are_pointers_still_and_get_a_checksum_when_they_change(store: Store) -> None:
    state, record = store.current("blink", "stable"), store.archive("blink", "stable")
    for name in POINTERS:
        pointer(store, name).write_bytes(of_format_1(pointer(store, name).read_bytes()))
    assert (store.current("blink", "stable"), store.archive("blink", "stable")) == (state, record)
    assert check(store).whole
    assert state is not None
    after = store.point("blink", "stable", Pointer("1.1.0"), expected=2)
    assert json.loads(pointer(store, POINTERS[0]).read_bytes())["format"] == 2
    assert after.generation == 3
    store.publish_archive("blink", "stable", make_archive(b"third"), b"third", expected=2)
    assert json.loads(pointer(store, POINTERS[1]).read_bytes())["format"] == 2
    assert check(store).whole


def test_a_log_of_before_says_nothing_of_records_and_is_believed(store: Store) -> None:
    log = store.directory / "audit.log"
    log.write_bytes(re.sub(rb'"record":"[0-9a-f]{64}",', b"", log.read_bytes()))
    assert check(store).whole
    before = log.read_bytes()
    assert tidy(store).problems == []
    assert log.read_bytes() == before


@pytest.mark.parametrize("name", POINTERS)
def test_a_pointer_that_is_gone_or_older_than_its_log_is_found(store: Store, name: str) -> None:
    path, log = pointer(store, name), store.directory / "audit.log"
    whole, said = path.read_bytes(), log.read_bytes()
    title = "channel 'stable' of 'blink'"
    title = title if "channels" in name else f"the certificates of {title}"
    path.unlink()
    assert check(store).problems == (f"{title} is gone, and the audit log knows its generation 2",)
    older = Channel(Pointer("1.0.0")).to_json() if "channels" in name else make_archive(b"certs").to_json()
    path.write_bytes(older)
    (found,) = [one for one in sweep(store).problems if one.startswith(title)]
    assert found == f"{title} is of generation 1, and the audit log knows 2: an older file was put there"
    assert log.read_bytes() == said, "an older file is no news for the log"
    path.write_bytes(whole)
    assert check(store).whole


def test_a_pointer_and_a_record_that_say_something_else_than_their_line_are_found(store: Store) -> None:
    state = store.current("blink", "stable")
    assert state is not None
    pointer(store, POINTERS[0]).write_bytes(Channel(Pointer("1.1.0", 100, "salt"), 2, state.history).to_json())
    record = store.directory / "products" / "blink" / "releases" / "1.0.0.json"
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b'"git_commit": ""', b'"git_commit": "abcdef1"'))
    parse(record.read_bytes())
    assert sweep(store).problems == (
        "channel 'stable' of 'blink' is not what the audit log has of generation 2: percent",
        "the record of release '1.0.0' of 'blink' is not the one that was published",
    )


def test_a_pointer_that_was_removed_as_the_hint_says_is_made_anew(store: Store) -> None:
    path = pointer(store, POINTERS[0])
    path.write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError, match="is not JSON"):
        store.point("blink", "stable", Pointer("1.0.0"), expected=2)
    path.unlink()
    assert store.point("blink", "stable", Pointer("1.0.0"), expected=0).generation == 1
    assert check(store).whole


def test_what_a_later_otaseal_wrote_is_named_as_that_and_left(store: Store, otaseal: Command) -> None:  # noqa: F811
    folder = store.directory / "products" / "blink"
    later = {
        folder / "channels" / "stable.json": lambda: store.current("blink", "stable"),
        folder / "certs" / "stable.json": lambda: store.archive("blink", "stable"),
        folder / "releases" / "1.0.0.json": lambda: store.release("blink", "1.0.0"),
    }
    for path, read in later.items():
        fields = json.loads(path.read_bytes())
        path.write_bytes(json.dumps({**fields, "format": 5, "new": 1}).encode())
        before = path.read_bytes()
        with pytest.raises(LaterFormatError, match=r"of 'blink': the .* was made by a newer otaseal") as caught:
            read()
        assert "update otaseal" in caught.value.hint
        assert not isinstance(caught.value, CorruptStoreError)
        assert path.read_bytes() == before
    with pytest.raises(LaterFormatError):
        store.point("blink", "stable", Pointer("1.0.0"), expected=2)
    assert len(sweep(store).later) == 3
    otaseal("store", "backup", store.directory, "b.tar").failed(1, "was made by a newer otaseal")


def test_a_record_survives_as_before() -> None:
    assert parse(serialise(FIRST)) == FIRST
    with pytest.raises(LaterFormatError):
        parse(serialise(FIRST).replace(b'"format": 1', b'"format": 5'))


def test_what_was_not_acknowledged_is_written_into_the_log_and_is_no_damage(store: Store) -> None:
    state = store.current("blink", "stable")
    assert state is not None
    ahead = state.advanced(Pointer("1.0.0"))
    pointer(store, POINTERS[0]).write_bytes(ahead.to_json())  # a kill between pointer and line
    assert sweep(store).problems == ()
    last = [line for _, line in store.documents.audit_lines() if line][-1]
    assert (last["generation"], last["version"], last["recovered"]) == (3, "1.0.0", True)
    assert check(store).whole


def test_a_rollout_of_what_is_damaged_can_be_halted(store: Store) -> None:
    (store.directory / blob_name(SECOND.forms[0].blob)).write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError):
        store.point("blink", "stable", Pointer("1.1.0", 20, "salt"), expected=2)
    assert store.point("blink", "stable", Pointer("1.1.0", 10, "salt", halted=True), expected=2).pointer.halted
