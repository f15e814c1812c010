"""One table of all formats that otaseal keeps: a later one is called later, damage is called damage, both are left."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import struct
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from otaseal.delta import header
from otaseal.delta.header import Header
from otaseal.errors import InputError, LaterFormatError, OtasealError
from otaseal.image import manifest
from otaseal.image.manifest import Claim
from otaseal.pki.index import check_revoked
from otaseal.pki.store import Store as Authorities
from otaseal.project import shipped
from otaseal.project.draft import Draft, Entry
from otaseal.release import checksummed, record_json
from otaseal.release.channels import Pointer
from otaseal.sbom import lock
from otaseal.store import backup
from otaseal.store.check import check
from otaseal.store.device_rows import Sighting
from otaseal.store.devices import Devices
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import Secrets
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from otaseal.store.trusts import Trust, TrustFile
from support.command import Command, otaseal  # noqa: F401
from support.filled_store import content
from support.releases import make_archive, make_release

NOW = datetime.now(timezone.utc)
ENTRY = Entry("d1", "d1_mini", "2026-01-31T12:00:00Z", "", (b"image",))
DAMAGED: Callable[[bytes], bytes] = lambda data: data[: len(data) // 2]  # noqa: E731 - a value of the table
AUTHORITIES, BACKUP, PROJECT, STORE = "authorities", "backup.tar", "project", "store"
RELEASE, CHANNEL, CERTS = (
    f"{STORE}/products/blink/{name}" for name in ("releases/1.0.0.json", "channels/stable.json", "certs/stable.json")
)
Edit = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one of everything that otaseal keeps."""
    folder = tmp_path_factory.mktemp("formats")
    store = Store.create(folder / STORE)
    store.publish(make_release("1.0.0", b"first"), [b"first"], "alice")
    store.point("blink", "stable", Pointer("1.0.0", max_failed=7), expected=0, by="alice")
    store.publish_archive("blink", "stable", make_archive(b"certs"), b"certs", expected=0)
    TokenFile(store.directory).issue("ci", "blink", "*", 9, NOW)
    TrustFile(folder / STORE).add(Trust("", "ci", "https://ci.local", "us", {"sub": "me"}, {}, ("blink",)), "alice")
    Devices(store.directory / "devices.sqlite").close()
    with Secrets(store.directory / "secrets.sqlite") as secrets:
        ProofKeys(secrets).enrol("blink", "mac:5C:CF:7F:F0:04:CB", bytes(32), NOW.timestamp())
    backup.backup(store, folder / BACKUP)
    authorities = Authorities.create(folder / AUTHORITIES, "blink", NOW)
    authorities.issue_device("kitchen", now=NOW)
    shipped.remember(folder / PROJECT / "shipped.json", "d1", b"archive")
    lock.write(folder / PROJECT / "otaseal.lock", "d1", {("library", "Dial"): lock.Locked("1.0", "ab" * 32)})
    Draft(folder / PROJECT / "draft", ("blink", "1.0")).put(ENTRY)
    claim = manifest.make(Claim("blink"))
    (folder / "manifest").write_bytes(manifest.serialise(claim))
    (folder / "image").write_bytes(b"code" + manifest.serialise(claim, manifest.IDENTITY_MAGIC) + b"more")
    (folder / "patch").write_bytes(header.serialise(Header(1, bytes(16), 1, bytes(32))))
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "place"))


def json_with(**changes: Any) -> Edit:
    """Return what changes fields of a JSON object, in no way that otaseal writes."""
    return lambda data: json.dumps({**json.loads(data), **changes}).encode()


def pointer_with(**changes: Any) -> Edit:
    """Return what adds fields to a pointer, whose checksum holds."""

    def edit(data: bytes) -> bytes:
        fields = {name: value for name, value in json.loads(data).items() if name not in ("format", "sha256")}
        return checksummed.dump({**fields, **changes})

    return edit


def record_with(**changes: Any) -> Edit:
    """Return what changes fields of a release record, as otaseal would write it."""
    return lambda data: (json.dumps({**json.loads(data), **changes}, indent=2, sort_keys=True) + "\n").encode()


def byte(place: int, value: int) -> Edit:
    """Return what sets one byte."""
    return lambda data: data[:place] + bytes([value]) + data[place + 1 :]


def with_schema(number: int) -> Edit:
    """Return what sets the number of a SQLite file's schema: byte 60 of its header, a word."""
    return lambda data: data[:60] + struct.pack(">i", number) + data[64:]


def tar_with(name: str, edit: Edit) -> Edit:
    """Return what changes one file of a backup, and what its manifest says of that."""

    def change(data: bytes) -> bytes:
        with tarfile.open(fileobj=BytesIO(data)) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        files[name] = edit(files[name])
        if name != backup.MANIFEST:
            said = json.loads(files[backup.MANIFEST])
            said["files"][name] = len(files[name]), hashlib.sha256(files[name]).hexdigest()
            files[backup.MANIFEST] = json.dumps(said).encode()
        out = BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, written in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(written)
                tar.addfile(info, BytesIO(written))
        return out.getvalue()

    return change


def open_devices(path: Path) -> None:
    with Devices(path) as devices:
        devices.check()


def open_secrets(path: Path) -> None:
    with Secrets(path) as secrets:
        secrets.check()


def restore(path: Path) -> None:
    backup.restore(path, path.with_name("restored"))


def draft(path: Path) -> Draft:
    return Draft(path.parent, ("blink", "1.0"))


@dataclass(frozen=True)
class Row:
    """A file by its `path`, what a later otaseal may make of it, what damage does, and who reads or replaces it."""

    path: str
    later: Edit
    use: Callable[[Path], object]
    damaged: Edit = DAMAGED
    passed_over: bool = False
    """Damage is nothing here: what the file says is made again."""


LATER = json_with(format=99, new=1)
CHANNEL_USE: Callable[[Path], object] = lambda path: Store(path.parents[3]).current("blink", "stable")  # noqa: E731
ROWS: Mapping[str, Row] = {
    "store": Row(f"{STORE}/store.json", LATER, lambda path: Store.open(path.parent)),
    "store, not a number": Row(
        f"{STORE}/store.json", LATER, lambda path: Store.open(path.parent), json_with(format="99")
    ),
    "record": Row(RELEASE, LATER, lambda path: record_json.parse(path.read_bytes())),
    "record, format 0": Row(RELEASE, LATER, lambda path: record_json.parse(path.read_bytes()), json_with(format=0)),
    "record of a new chip": Row(
        RELEASE,
        record_with(format=3, chip="esp99"),
        lambda path: Store(path.parents[3]).release("blink", "1.0.0"),
        record_with(chip="ESP 99", format=3),
    ),
    "channel": Row(CHANNEL, LATER, CHANNEL_USE),
    "channel with a new field": Row(CHANNEL, pointer_with(new=1), CHANNEL_USE, json_with(new=1)),
    "archive": Row(CERTS, LATER, lambda path: Store(path.parents[3]).archive("blink", "stable")),
    "archive with a new field": Row(
        CERTS, pointer_with(new=1), lambda path: Store(path.parents[3]).archive("blink", "stable"), json_with(new=1)
    ),
    "tokens": Row(f"{STORE}/tokens.json", LATER, lambda path: TokenFile(path.parent).list()),
    "trusts": Row(f"{STORE}/trusts.json", LATER, lambda path: TrustFile(path.parent).list()),
    "tokens, issued": Row(
        f"{STORE}/tokens.json",
        LATER,
        lambda path: TokenFile(path.parent).issue("two", "*", "*", 1, NOW),
        json_with(format=0),
    ),
    "lock": Row(f"{PROJECT}/otaseal.lock", LATER, lambda path: lock.read(path, "d1"), json_with(format=0)),
    "lock, written": Row(f"{PROJECT}/otaseal.lock", LATER, lambda path: lock.write(path, "d2", {})),
    "devices": Row(f"{STORE}/devices.sqlite", with_schema(99), open_devices, byte(0, 0)),
    "devices, no schema": Row(f"{STORE}/devices.sqlite", with_schema(99), open_devices, with_schema(-1)),
    "secrets": Row(f"{STORE}/secrets.sqlite", with_schema(99), open_secrets, byte(0, 0)),
    "secrets, no schema": Row(f"{STORE}/secrets.sqlite", with_schema(99), open_secrets, with_schema(-1)),
    "backup with later secrets": Row(
        BACKUP, tar_with("secrets.sqlite", with_schema(99)), restore, tar_with("secrets.sqlite", byte(0, 0))
    ),
    "backup": Row(BACKUP, tar_with("manifest.json", LATER), restore),
    "backup, format 0": Row(
        BACKUP, tar_with("manifest.json", LATER), restore, tar_with("manifest.json", json_with(format=0))
    ),
    "backup of a later store": Row(BACKUP, tar_with("store.json", LATER), restore, tar_with("store.json", DAMAGED)),
    "backup with a later record": Row(
        BACKUP,
        tar_with(RELEASE.removeprefix(f"{STORE}/"), LATER),
        restore,
        tar_with(RELEASE.removeprefix(f"{STORE}/"), DAMAGED),
    ),
    "authorities": Row(f"{AUTHORITIES}/index.json", LATER, lambda path: Authorities(path.parent, "blink").list()),
    "authorities, format 0": Row(
        f"{AUTHORITIES}/index.json",
        LATER,
        lambda path: Authorities(path.parent, "blink").rotate(NOW),
        json_with(format=0),
    ),
    "revocations": Row(
        f"{AUTHORITIES}/revoked.json", LATER, lambda path: Authorities(path.parent, "blink").list(), passed_over=True
    ),
    "revocations, served": Row(
        f"{AUTHORITIES}/revoked.json", LATER, lambda path: check_revoked(path.read_bytes()), passed_over=True
    ),
    "shipped": Row(
        f"{PROJECT}/shipped.json", LATER, lambda path: shipped.is_current(path, "d1", b"archive"), passed_over=True
    ),
    "draft": Row(f"{PROJECT}/draft/d1.json", LATER, lambda path: draft(path).get("d1"), passed_over=True),
    "manifest": Row("manifest", byte(8, 2), lambda path: manifest.parse(path.read_bytes()), byte(8, 0)),
    "manifest of a new kind": Row("manifest", byte(9, 9), lambda path: manifest.parse(path.read_bytes()), byte(11, 1)),
    "patch": Row("patch", byte(8, 2), lambda path: header.parse(path.read_bytes()), byte(8, 0)),
    "identity": Row(
        "image", byte(12, 2), lambda path: manifest.identity(path.read_bytes()), byte(12, 0), passed_over=True
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_later_format_is_later_and_damage_is_damage_and_both_are_left(place: Path, row: Row) -> None:
    path = place / row.path
    whole = path.read_bytes()
    row.use(path)
    for edit in (row.later, row.damaged):
        shutil.rmtree(place / "restored", ignore_errors=True)
        path.write_bytes(edit(whole))
        assert path.read_bytes() != whole
        before = content(place)
        if edit is row.later:
            with pytest.raises(LaterFormatError, match="was made by a newer otaseal") as caught:
                row.use(path)
            assert caught.value.exit_code == InputError.exit_code
        elif row.passed_over:
            row.use(path)
        else:
            with pytest.raises(OtasealError) as caught:
                row.use(path)
            assert not isinstance(caught.value, LaterFormatError)
            assert "newer" not in caught.value.message + caught.value.hint
        assert content(place) == before


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("draft", lambda path: draft(path).put(ENTRY)),
        ("shipped", lambda path: shipped.forget(path, "d1")),
        ("shipped", lambda path: shipped.remember(path, "d1", b"another")),
    ],
)
def test_what_would_replace_a_later_file_leaves_it(place: Path, name: str, change: Callable[[Path], object]) -> None:
    path = place / ROWS[name].path
    path.write_bytes(LATER(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(LaterFormatError):
        change(path)
    draft(path).clear()
    assert path.read_bytes() == before


STORE_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("store", "check", STORE),
    ("store", "check", STORE, "--sweep"),
    ("store", "prune", STORE),
    ("store", "backup", STORE, "new.tar"),
)
COMMANDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "store": (*STORE_COMMANDS, ("token", "list", "--store", STORE)),
    "record": STORE_COMMANDS,
    "channel": STORE_COMMANDS,
    "channel with a new field": STORE_COMMANDS,
    "archive": STORE_COMMANDS,
    "tokens": tuple(("token", *action, "--store", STORE) for action in (("list",), ("new", "two"), ("revoke", "1234"))),
    "devices": STORE_COMMANDS[2:3],
    "secrets": STORE_COMMANDS,
    "backup": (("store", "restore", BACKUP, "restored"),),
    "backup with later secrets": (("store", "restore", BACKUP, "restored"),),
    "backup with a later record": (("store", "restore", BACKUP, "restored"),),
    "authorities": tuple(
        ("pki", *action, "--store", AUTHORITIES)
        for action in (("list",), ("renew",), ("rotate", "--yes"), ("revoke", "kitchen"), ("device", "hall"))
    ),
    "revocations": (("pki", "revoke", "kitchen", "--store", AUTHORITIES),),
}


def kept(place: Path, name: str) -> dict[str, bytes]:
    """Return what must not change; SQLite counts openings of a list of devices that is ours."""
    return {path: data for path, data in content(place).items() if name == "devices" or "devices.sqlite" not in path}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_say_later_and_change_nothing(
    place: Path,
    name: str,
    otaseal: Command,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    path = place / ROWS[name].path
    path.write_bytes(ROWS[name].later(path.read_bytes()))
    before = kept(place, name)
    for command in COMMANDS[name]:
        result = otaseal(*command).failed(1, "was made by a newer otaseal")
        assert "restore it" not in result.err, command
        assert kept(place, name) == before, command


def test_what_a_later_record_needs_does_not_count_as_unneeded(place: Path) -> None:
    path = place / RELEASE
    path.write_bytes(LATER(path.read_bytes()))
    report = check(Store(place / STORE))
    assert (report.whole, report.problems, report.orphans) == (False, (), ())
    assert report.later == ("release '1.0.0' of 'blink': the release record was made by a newer otaseal",)


def test_events_that_are_not_known_are_no_damage_of_the_audit_log(place: Path) -> None:
    """The log has no format of its own: what lines mean is part of the store's, and new events and fields are free."""
    store, log = Store(place / STORE), place / STORE / "audit.log"
    with log.open("ab") as file:
        file.write(b'{"at":"2030-01-01T00:00:00+00:00","event":"enrol","device":"x","new":{"format":99}}\n')
    before = log.read_bytes()
    assert check(store).whole
    assert log.read_bytes() == before
    log.write_bytes(before + b"damaged\n")
    assert check(store).problems == (f"line {len(list(store.documents.audit_lines()))} of 'audit.log' is damaged",)


def test_columns_and_tables_that_are_not_known_do_not_make_a_list_of_devices_a_later_one(place: Path) -> None:
    path = place / STORE / "devices.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE devices ADD COLUMN new DEFAULT 'x'")
        database.execute("CREATE TABLE new (a)")
        database.commit()
    see(path, "first", "a" * 32)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE devices SET new = 'y'")
        database.commit()
    see(path, "first", "b" * 32)
    see(path, "second", "a" * 32)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT device, md5, new FROM devices ORDER BY device").fetchall()
        assert rows == [("first", "b" * 32, "y"), ("second", "a" * 32, "x")], "what is not known stays"
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'new'").fetchall()


def see(path: Path, device: str, md5: str) -> None:
    with Devices(path) as devices, devices.batch() as rows:
        rows.see(Sighting("blink", "stable", device, md5), NOW.timestamp())
