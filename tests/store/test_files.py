"""The release store: what is published stays as it was, names stay inside, damage is never handed out."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import re
import shutil
import tarfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import (
    ConflictError,
    CorruptStoreError,
    InputError,
    KeyRefusedError,
    LaterFormatError,
    NotFoundError,
    SystemFaultError,
)
from otaseal.keys.public import public_pem
from otaseal.release.channels import MAX_HISTORY, Channel, Pointer
from otaseal.store.audit_log import MAX_LINE
from otaseal.store.backup import backup, restore
from otaseal.store.check import audit_lines, check, sweep
from otaseal.store.files import MAX_BLOB_BYTES, MAX_KEYS, Store
from support.command import Command, otaseal  # noqa: F401
from support.releases import make_release, view

# The children do nothing but what is tested, whatever threads the test runner has.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

IMAGE, PACKED = b"image" * 1000, b"packed" * 300
FIRST, SECOND, THIRD = make_release("1.0.0", IMAGE, PACKED), make_release("1.1.0", PACKED), make_release("2.0.0", b"3")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.fixture
def filled(store: Store) -> Store:
    """Three releases; stable has had the first two, and beta the third."""
    store.publish(FIRST, [IMAGE, PACKED], "alice")
    store.publish(SECOND, [], "alice")
    store.publish(THIRD, [b"3"], "alice")
    store.point("blink", "stable", Pointer("1.0.0"), expected=0, by="alice")
    store.point("blink", "stable", Pointer("1.1.0"), expected=1, by="alice")
    store.point("blink", "beta", Pointer("2.0.0", 10, "salt"), expected=0, by="alice")
    return store


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def of_before() -> bytes:
    """Return a pointer file of format 1, which has no checksum that would catch everything first."""
    fields = json.loads(Channel(Pointer("1")).to_json())
    del fields["sha256"]
    return json.dumps({**fields, "format": 1}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def pointer_file(store: Store) -> Path:
    return store.directory / "products/blink/channels/stable.json"


def test_what_is_published_is_found(filled: Store) -> None:
    again = Store.open(filled.directory)
    assert again.products() == ("blink",)
    assert again.releases("blink") == ("1.0.0", "1.1.0", "2.0.0")
    assert again.channels("blink") == ("beta", "stable")
    assert again.release("blink", "1.0.0") == FIRST
    assert again.read_blob(FIRST.forms[1].blob) == PACKED
    assert again.current("blink", "stable") == Channel(Pointer("1.1.0"), 2, ("1.0.0",))
    assert again.current("blink", "beta") == Channel(Pointer("2.0.0", 10, "salt"), 1)
    assert again.current("blink", "nightly") is None
    assert again.current("other", "stable") is None
    assert (again.releases("other"), again.channels("other"), again.keys("other")) == ((), (), {})


def test_a_store_is_made_once(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not empty"):
        Store.create(store.directory)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is not empty"):
        Store.create(tmp_path / "other")
    for place in ("other", "missing"):
        with pytest.raises(NotFoundError, match="no release store"):
            Store.open(tmp_path / place)
    (store.directory / "store.json").write_bytes(b'{"format":2}\n')
    with pytest.raises(LaterFormatError, match="was made by a newer otaseal"):
        Store.open(store.directory)
    for damaged in (b"", b'{"format":1}', b'{"format":"2"}\n', b"[2]"):
        (store.directory / "store.json").write_bytes(damaged)
        with pytest.raises(CorruptStoreError, match="is damaged"):
            Store.open(store.directory)


def test_a_release_never_changes(filled: Store) -> None:
    before = content(filled.directory)
    with pytest.raises(ConflictError, match=r"'1\.0\.0' exists already"):
        filled.publish(make_release("1.0.0", b"other"), [b"other"])
    assert content(filled.directory) == before, "not even a blob"
    filled.publish(FIRST, [IMAGE, PACKED])
    after = content(filled.directory)
    assert {name for name in after if after[name] != before.get(name)} == {"audit.log"}


def test_a_release_without_its_blobs_is_none(store: Store) -> None:
    with pytest.raises(CorruptStoreError, match="is missing"):
        store.publish(FIRST, [IMAGE])
    assert store.releases("blink") == ()
    store.publish(make_release("0.9.0", PACKED), [PACKED])
    store.publish(make_release("0.9.1", IMAGE), [IMAGE])
    store.publish(FIRST, [])
    assert view(store)[0]["blink", "1.0.0"] == FIRST


def test_a_channel_is_changed_by_who_saw_it_last(filled: Store) -> None:
    before = content(filled.directory)
    for expected in (0, 1, 3):
        with pytest.raises(ConflictError, match=f"has generation 2, not {expected}"):
            filled.point("blink", "stable", Pointer("2.0.0"), expected=expected)
        with pytest.raises(ConflictError):
            filled.rollback("blink", "stable", expected=expected)
    with pytest.raises(NotFoundError, match="no release '3'"):
        filled.point("blink", "stable", Pointer("3"), expected=2)
    with pytest.raises(NotFoundError, match="no channel 'nightly'"):
        filled.rollback("blink", "nightly", expected=0)
    assert content(filled.directory) == before


def test_rollbacks_go_back_to_what_all_devices_had(filled: Store) -> None:
    filled.point("blink", "stable", Pointer("2.0.0", 10, "s"), expected=2)
    halted = filled.point("blink", "stable", Pointer("2.0.0", 10, "s", halted=True), expected=3)
    assert (halted.previous, halted.history) == ("1.1.0", ("1.0.0", "1.1.0"))
    overtaken = filled.point("blink", "stable", Pointer("1.0.0", 50), expected=4)
    assert overtaken.previous == "1.1.0", "a halted rollout is nothing to go back to"
    assert filled.rollback("blink", "stable", expected=5) == Channel(Pointer("1.1.0"), 6, ("1.0.0",))
    assert filled.rollback("blink", "stable", expected=6) == Channel(Pointer("1.0.0"), 7, ())
    with pytest.raises(InputError, match=r"no version before '1\.0\.0'"):
        filled.rollback("blink", "stable", expected=7)
    assert filled.current("blink", "stable") == Channel(Pointer("1.0.0"), 7, ())


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


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", ".hidden", "a" * 65, "ä", "a b", "-a", "a\\b"]
)
def test_no_name_leads_out_of_the_store(filled: Store, name: str) -> None:
    before = content(filled.directory.parent)
    for attempt in (
        lambda: filled.current(name, "stable"),
        lambda: filled.current("blink", name),
        lambda: filled.release(name, "1.0.0"),
        lambda: filled.release("blink", name),
        lambda: filled.releases(name),
        lambda: filled.channels(name),
        lambda: filled.keys(name),
        lambda: filled.read_blob(name),
        lambda: filled.add_key("blink", name, b""),
        lambda: filled.publish(make_release(name, b"3"), [b"3"]),
        lambda: filled.publish(make_release("1", b"3", product=name), [b"3"]),
        lambda: filled.point("blink", name, Pointer("1.0.0"), expected=0),
        lambda: filled.point(name, "stable", Pointer("1.0.0"), expected=0),
        lambda: Pointer(name),
    ):
        with pytest.raises(InputError):
            attempt()
    assert content(filled.directory.parent) == before


def test_a_damaged_blob_is_never_handed_out_and_deploying_again_heals_it(filled: Store) -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    path = filled.blob_path(digest)
    for damage in (IMAGE[:-1], IMAGE[:-1] + b"!", b"", bytes(MAX_BLOB_BYTES + 1)):
        path.write_bytes(damage)
        with pytest.raises(CorruptStoreError, match=digest):
            filled.read_blob(digest)
        with pytest.raises(CorruptStoreError):
            filled.point("blink", "beta", Pointer("1.0.0"), expected=1)
        assert len(check(filled).problems) == 1
    filled.publish(FIRST, [IMAGE, PACKED])
    assert filled.read_blob(digest) == IMAGE
    assert check(filled).whole
    path.unlink()
    path.mkdir()
    with pytest.raises(CorruptStoreError, match="cannot be read"):
        filled.read_blob(digest)


def test_blobs_are_bounded(store: Store) -> None:
    with pytest.raises(InputError, match="larger than"):
        store.publish(make_release("1", b"1"), [bytes(MAX_BLOB_BYTES + 1)])
    assert check(store).orphans == ()


def leave_orphan(store: Store) -> str:
    """Leave a blob as who was killed between blob and record would; return its SHA-256."""
    digest = hashlib.sha256(b"orphan").hexdigest()
    path = store.blob_path(digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"orphan")
    return digest


def test_public_keys_only(store: Store, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem, other = public_pem(rsa_key.public_key()), public_pem(other_rsa_key.public_key())
    for refused in (private, b"", b"nonsense", pem[:-40]):
        with pytest.raises((InputError, KeyRefusedError)):
            store.add_key("blink", "main", refused)
    store.add_key("blink", "main", pem)
    store.add_key("blink", "main", pem)
    with pytest.raises(ConflictError, match="a key 'main' of 'blink' exists already"):
        store.add_key("blink", "main", other)
    assert store.keys("blink") == {"main": pem}
    for number in range(1, MAX_KEYS):
        store.add_key("blink", f"k{number}", other)
    with pytest.raises(InputError, match="keys already"):
        store.add_key("blink", "more", other)
    assert check(store).whole
    (store.directory / "products/blink/keys/main.pub").write_bytes(private)
    assert not check(store).whole


def test_the_audit_log_tells_who_did_what(filled: Store) -> None:
    filled.rollback("blink", "stable", expected=2, by="bob")
    filled.record_event({"event": "token", "by": "bob"})
    lines = [line for _, line in audit_lines(filled) if line is not None]
    assert [one["event"] for one in lines] == ["publish"] * 3 + ["point"] * 3 + ["rollback", "token"]
    assert (lines[-2]["by"], lines[-2]["version"], lines[-2]["generation"]) == ("bob", "1.0.0", 3)
    assert sorted(one["at"] for one in lines) == [one["at"] for one in lines]
    with pytest.raises(InputError, match="an audit line has"):
        filled.record_event({"event": "x" * MAX_LINE})


def test_half_a_line_is_cut_and_a_damaged_one_is_said(filled: Store) -> None:
    log = filled.directory / "audit.log"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"event":"po')
    assert check(filled).whole
    filled.record_event({"event": "token"})
    assert log.read_bytes().startswith(whole + b'{"at":')
    assert len(log.read_bytes().splitlines()) == 7
    log.write_bytes(b"nonsense\n" + whole)
    assert check(filled).problems == ("line 1 of 'audit.log' is damaged",)


def test_sweeping_removes_what_a_kill_left_and_keeps_the_rest(filled: Store) -> None:
    for name in ("products/blink/channels/.stable.json.abc.tmp", "blobs/sha256/.x.tmp"):
        (filled.directory / name).write_bytes(b"half")
    orphan = leave_orphan(filled)
    (filled.directory / "products/blink/releases/notes of mine.txt").write_bytes(b"")
    before = view(filled)
    report = sweep(filled)
    assert report.whole
    assert report.temporaries == ("blobs/sha256/.x.tmp", "products/blink/channels/.stable.json.abc.tmp")
    assert report.orphans == (f"blobs/sha256/{orphan[:2]}/{orphan}", "products/blink/releases/notes of mine.txt")
    assert sweep(filled).temporaries == ()
    assert filled.read_blob(orphan) == b"orphan"
    assert (view(filled), check(filled).releases, check(filled).channels, check(filled).blobs) == (before, 3, 2, 3)


def test_a_check_finds_every_damage(filled: Store) -> None:
    for name, data in content(filled.directory).items():
        if name in ("store.json", ".lock") or not data:
            continue
        for damaged in (data[:-2] + b"#\n", data[: len(data) // 2], None):
            path = filled.directory / name
            path.write_bytes(damaged) if damaged is not None else path.unlink()
            gone_without_trace = damaged is None and name == "audit.log"
            half_a_line = name == "audit.log" and damaged == data[: len(data) // 2]
            assert check(filled).whole == (gone_without_trace or half_a_line), (name, damaged)
            path.write_bytes(data)
    assert check(filled).whole


def test_a_record_of_another_release_is_damage(filled: Store) -> None:
    folder = filled.directory / "products/blink/releases"
    shutil.copyfile(folder / "1.0.0.json", folder / "1.1.0.json")
    with pytest.raises(CorruptStoreError, match="is that of another"):
        filled.release("blink", "1.1.0")


# Backups ------------------------------------------------------------------------------------------------------------


def test_a_backup_restores_the_same_store(filled: Store, tmp_path: Path) -> None:
    leave_orphan(filled)
    (filled.directory / "tokens.json").write_bytes(b"{}")
    (filled.directory / "devices.sqlite").write_bytes(b"")
    backup(filled, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600
    os.utime(filled.directory / "store.json", (1, 1))
    backup(filled, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    restored = restore(tmp_path / "a.tar", tmp_path / "deep" / "restored")
    assert view(restored) == view(filled)
    kept = {name: data for name, data in content(filled.directory).items() if data not in (b"orphan", b"")}
    assert {name: data for name, data in content(restored.directory).items() if data} == kept
    assert check(restored).orphans == ()
    backup(restored, tmp_path / "c.tar")
    assert (tmp_path / "c.tar").read_bytes() == (tmp_path / "a.tar").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        backup(filled, tmp_path / "a.tar")
    with pytest.raises(InputError, match="is not empty"):
        restore(tmp_path / "a.tar", filled.directory)
    with pytest.raises(NotFoundError):
        restore(tmp_path / "none.tar", tmp_path / "new")


def test_a_damaged_store_is_not_backed_up(filled: Store, tmp_path: Path) -> None:
    filled.blob_path(FIRST.forms[0].blob).write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError):
        backup(filled, tmp_path / "a.tar")
    pointer_file(filled).write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError):
        backup(filled, tmp_path / "a.tar")
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_backup_cut_or_changed_anywhere_restores_nothing(filled: Store, tmp_path: Path) -> None:
    backup(filled, tmp_path / "a.tar")
    data = (tmp_path / "a.tar").read_bytes()
    used = len(data.rstrip(b"\0"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        bodies = [range(one.offset_data, one.offset_data + one.size) for one in tar.getmembers()]
    cuts = [data[:place] for place in range(0, used, 509)]
    flips = [
        data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        for place in range(0, used, 251)
        if any(place in body for body in bodies)
    ]
    assert len(flips) > 20
    for damaged in (*cuts, *flips, b"", os.urandom(3000)):
        (tmp_path / "b.tar").write_bytes(damaged)
        with pytest.raises(InputError):
            restore(tmp_path / "b.tar", tmp_path / "restored")
        assert {path.name for path in tmp_path.iterdir()} == {"store", "a.tar", "b.tar"}


@pytest.mark.parametrize("name", ["../evil", "/evil", "products/../../evil", "products/blink/keys/x.key", "evil"])
def test_a_hostile_backup_writes_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    entries = {"store.json": b'{"format":1}\n', name: b"evil"}
    manifest = {one: [len(data), hashlib.sha256(data).hexdigest()] for one, data in entries.items()}
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for one, data in {"manifest.json": json.dumps({"format": 1, "files": manifest}).encode(), **entries}.items():
            member = tarfile.TarInfo(one)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InputError, match="is not a file of a store"):
        restore(tmp_path / "a.tar", tmp_path / "restored")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar"}


# Many at once -------------------------------------------------------------------------------------------------------


def _deploy(directory: Path, name: str, count: int, seen: Synchronized[int]) -> None:
    """Deploy one after the other, and let who reads see some of them."""
    store = Store.open(directory)
    for number in range(count):
        while seen.value < number // 4:
            time.sleep(0.001)
        image = f"{name} {number}".encode() * 1000
        store.publish(make_release(f"{name}.{number}", image), [image], name)
        while True:
            channel = store.current("blink", "stable")
            generation = 0 if channel is None else channel.generation
            try:
                store.point("blink", "stable", Pointer(f"{name}.{number}"), expected=generation, by=name)
                break
            except ConflictError:
                continue


def test_processes_share_a_store_and_readers_see_whole_states_only(store: Store) -> None:
    each = 25
    context = multiprocessing.get_context("fork")
    seen = context.Value("i", 0)
    arguments = [(store.directory, name, each, seen) for name in ("a", "b")]
    writers = [context.Process(target=_deploy, args=one, daemon=True) for one in arguments]
    for writer in writers:
        writer.start()
    generations = [0]
    while any(writer.is_alive() for writer in writers):
        channel = store.current("blink", "stable")
        if channel is not None:
            release = store.release("blink", channel.pointer.version)
            assert len(store.read_blob(release.forms[0].blob)) == release.forms[0].size
            generations.append(channel.generation)
            seen.value = len(set(generations)) - 1
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert generations == sorted(generations)
    assert len(set(generations)) > 5
    last = store.current("blink", "stable")
    assert last is not None
    assert last.generation == 2 * each, "no update was lost"
    pointed = [line["generation"] for _, line in audit_lines(store) if line and line["event"] == "point"]
    assert pointed == list(range(1, 2 * each + 1))
    assert len(store.releases("blink")) == 2 * each
    assert check(store).whole


# The command --------------------------------------------------------------------------------------------------------


def test_the_command(otaseal: Command, tmp_path: Path) -> None:  # noqa: F811
    otaseal("store", "create", "s").succeeded()
    store = Store.open(tmp_path / "s")
    store.publish(FIRST, [IMAGE, PACKED])
    assert otaseal("store", "check", "s", "--json").succeeded().json["blobs"] == 2
    otaseal("store", "backup", "s", "s.tar").succeeded()
    otaseal("store", "restore", "s.tar", "s2").succeeded()
    assert view(Store.open(tmp_path / "s2")) == view(store)
    assert [Path(name).stat().st_mode & 0o777 for name in ("s", "s2")] == [0o700, 0o700], "firmware holds passwords"
    assert otaseal("store", "backup", "s2", "s2.tar", "--json").succeeded().json == {"store": "s2", "backup": "s2.tar"}
    otaseal("store", "restore", "s.tar", "s").failed(1, "is not empty")
    otaseal("store", "create", "s").failed(1, "is not empty")
    otaseal("store", "check", "none").failed(1, "there is no release store")
    store.blob_path(FIRST.forms[0].blob).write_bytes(b"damaged")
    assert not otaseal("store", "check", "s", "--json").failed(1, "is not whole: 1 damaged").json["whole"]
    assert "damaged: blob" in otaseal("store", "check", "s", "--sweep").failed(1, "is not whole").out
    otaseal("store", "backup", "s", "s3.tar").failed(3, "is damaged")


def test_a_full_disk_is_the_systems_fault(store: Store) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("NOT PRESENT: /dev/full")
    (store.directory / "audit.log").symlink_to("/dev/full")
    with pytest.raises(SystemFaultError):
        store.record_event({"event": "token"})


def test_every_change_of_a_store_shows(filled: Store, tmp_path: Path) -> None:
    """A server that runs looks at nothing else to see that it has to read anew."""
    seen = {filled.last_change()}
    for change in (
        lambda: filled.point("blink", "gamma", Pointer(FIRST.version), expected=0),
        lambda: filled.record_event({"event": "token"}),
        lambda: filled.publish(make_release("9.0", b"nine"), [b"nine"]),
    ):
        change()
        assert filled.last_change() not in seen
        seen.add(filled.last_change())
    assert Store.create(tmp_path / "new").last_change() == (0, 0)


def test_a_store_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemFaultError, match="cannot be made"):
        Store.create(tmp_path / "file" / "store")
    assert (tmp_path / "file").read_bytes() == b""
