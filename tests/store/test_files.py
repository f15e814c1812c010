"""The release store: what is published stays as it was, names stay inside, damage is never handed out."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

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
from otaseal.release.channels import Channel, Pointer
from otaseal.store.backend import open_backend, open_new
from otaseal.store.check import check
from otaseal.store.contents import MAX_KEYS
from otaseal.store.documents import MAX_BLOB_BYTES, blob_name
from otaseal.store.postgresql.documents import PostgresDocuments
from otaseal.store.store import Store
from support import postgresql
from support.command import Command, otaseal  # noqa: F401
from support.filled_store import (
    FIRST,
    IMAGE,
    PACKED,
    damage_blob,
    either,
    either_filled,
    everything,
    filled,
    location_of,
    opened,
    store,
)
from support.releases import make_release, view

__all__ = ["either", "either_filled", "filled", "store"]

# The children do nothing but what is tested, whatever threads the test runner has.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def test_what_is_published_is_found(either_filled: Store) -> None:
    with opened(location_of(either_filled)) as again:
        _assert_found(again)


def _assert_found(again: Store) -> None:
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


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def test_a_store_in_a_database_is_made_once_in_one_that_is_empty() -> None:
    url = postgresql.cluster().database()
    with pytest.raises(NotFoundError, match="no release store"):
        open_backend(url)
    open_new(url).close()
    with pytest.raises(InputError, match="already"):
        open_new(url)
    execute(url, "UPDATE otaseal_schema SET version = 1007, readable_by = 1006")
    with pytest.raises(LaterFormatError, match="was made by a newer otaseal"):
        open_backend(url)
    execute(url, "UPDATE otaseal_schema SET readable_by = 1")
    open_backend(url).close()
    strange = postgresql.cluster().database()
    execute(strange, "CREATE TABLE mine ()")
    with pytest.raises(InputError, match="is not empty"):
        open_new(strange)


@pytest.mark.parametrize("url", ["postgresql://a:geheim@h/d", "postgresql://h/d?password=geheim"])
def test_no_password_is_taken_or_shown(url: str, otaseal: Command) -> None:  # noqa: F811
    assert "geheim" not in otaseal("store", "check", url).failed(2, "has a password in it").err


def test_a_release_never_changes(either_filled: Store) -> None:
    before = everything(either_filled)
    with pytest.raises(ConflictError, match=r"'1\.0\.0' exists already"):
        either_filled.publish(make_release("1.0.0", b"other"), [b"other"])
    assert everything(either_filled) == before, "not even a blob"
    either_filled.publish(FIRST, [IMAGE, PACKED])
    after = everything(either_filled)
    assert {name for name in after if after[name] != before.get(name)} == {"audit"}


def test_a_release_without_its_blobs_is_none(either: Store) -> None:
    with pytest.raises(CorruptStoreError, match="is missing"):
        either.publish(FIRST, [IMAGE])
    assert either.releases("blink") == ()
    either.publish(make_release("0.9.0", PACKED), [PACKED])
    either.publish(make_release("0.9.1", IMAGE), [IMAGE])
    either.publish(FIRST, [])
    assert view(either)[0]["blink", "1.0.0"] == FIRST


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", ".hidden", "a" * 65, "ä", "a b", "-a", "a\\b"]
)
def test_no_name_leads_out_of_the_store(either_filled: Store, name: str) -> None:
    before = everything(either_filled)
    for attempt in (
        lambda: either_filled.current(name, "stable"),
        lambda: either_filled.current("blink", name),
        lambda: either_filled.release(name, "1.0.0"),
        lambda: either_filled.release("blink", name),
        lambda: either_filled.releases(name),
        lambda: either_filled.channels(name),
        lambda: either_filled.keys(name),
        lambda: either_filled.read_blob(name),
        lambda: either_filled.add_key("blink", name, b""),
        lambda: either_filled.publish(make_release(name, b"3"), [b"3"]),
        lambda: either_filled.publish(make_release("1", b"3", product=name), [b"3"]),
        lambda: either_filled.point("blink", name, Pointer("1.0.0"), expected=0),
        lambda: either_filled.point(name, "stable", Pointer("1.0.0"), expected=0),
        lambda: Pointer(name),
    ):
        with pytest.raises(InputError):
            attempt()
    assert everything(either_filled) == before


def test_a_damaged_blob_is_never_handed_out_and_deploying_again_heals_it(either_filled: Store) -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    for damage in (IMAGE[:-1], IMAGE[:-1] + b"!", b"", bytes(MAX_BLOB_BYTES + 1)):
        damage_blob(either_filled, digest, damage)
        with pytest.raises(CorruptStoreError, match=digest):
            either_filled.read_blob(digest)
        with pytest.raises(CorruptStoreError):
            either_filled.point("blink", "beta", Pointer("1.0.0"), expected=1)
        assert len(check(either_filled).problems) == 1
    either_filled.publish(FIRST, [IMAGE, PACKED])
    assert either_filled.read_blob(digest) == IMAGE
    assert check(either_filled).whole


def test_a_folder_in_the_place_of_a_blob_is_damage(filled: Store) -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    path = filled.directory / blob_name(digest)
    path.unlink()
    path.mkdir()
    with pytest.raises(CorruptStoreError, match="cannot be read"):
        filled.read_blob(digest)


def test_blobs_are_bounded(either: Store) -> None:
    with pytest.raises(InputError, match="larger than"):
        either.publish(make_release("1", b"1"), [bytes(MAX_BLOB_BYTES + 1)])
    assert check(either).orphans == ()


def test_public_keys_only(either: Store, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem, other = public_pem(rsa_key.public_key()), public_pem(other_rsa_key.public_key())
    for refused in (private, b"", b"nonsense", pem[:-40]):
        with pytest.raises((InputError, KeyRefusedError)):
            either.add_key("blink", "main", refused)
    either.add_key("blink", "main", pem)
    either.add_key("blink", "main", pem)
    with pytest.raises(ConflictError, match="a key 'main' of 'blink' exists already"):
        either.add_key("blink", "main", other)
    assert either.keys("blink") == {"main": pem}
    for number in range(1, MAX_KEYS):
        either.add_key("blink", f"k{number}", other)
    with pytest.raises(InputError, match="keys already"):
        either.add_key("blink", "more", other)
    assert check(either).whole
    with either.documents.change() as change:
        change.replace("products/blink/keys/main.pub", private)
    assert not check(either).whole


def _deploy(location: str, name: str, count: int, seen: Synchronized[int]) -> None:
    """Deploy one after the other, and let who reads see some of them."""
    store = open_backend(location).store
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


def test_processes_share_a_store_and_readers_see_whole_states_only(either: Store) -> None:
    store, each = either, 25
    context = multiprocessing.get_context("fork")
    seen = context.Value("i", 0)
    arguments = [(location_of(store), name, each, seen) for name in ("a", "b")]
    writers = [context.Process(target=_deploy, args=one, daemon=True) for one in arguments]
    for writer in writers:
        writer.start()
    generations = [0]
    while any(writer.is_alive() for writer in writers):
        if isinstance(store.documents, PostgresDocuments):
            store.documents.load()
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
    pointed = [line["generation"] for _, line in store.documents.audit_lines() if line and line["event"] == "point"]
    assert pointed == list(range(1, 2 * each + 1))
    assert len(store.releases("blink")) == 2 * each
    assert check(store).whole


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
    (store.directory / blob_name(FIRST.forms[0].blob)).write_bytes(b"damaged")
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
    seen = {filled.documents.last_change()}
    for change in (
        lambda: filled.point("blink", "gamma", Pointer(FIRST.version), expected=0),
        lambda: filled.record_event({"event": "token"}),
        lambda: filled.publish(make_release("9.0", b"nine"), [b"nine"]),
    ):
        change()
        assert filled.documents.last_change() not in seen
        seen.add(filled.documents.last_change())
    assert Store.create(tmp_path / "new").documents.last_change() is None


def test_a_store_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemFaultError, match="cannot be made"):
        Store.create(tmp_path / "file" / "store")
    assert (tmp_path / "file").read_bytes() == b""
