"""What is pruned is what nobody needs, and a kill at any moment leaves a store that is whole."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otaseal.errors import CorruptStoreError, InputError, LaterFormatError
from otaseal.release.channels import Pointer
from otaseal.release.notes import Notes
from otaseal.release.records import Release
from otaseal.store.backend import FileBackend
from otaseal.store.check import check, sweep
from otaseal.store.device_rows import Sighting
from otaseal.store.documents import blob_name
from otaseal.store.files import DEVICES_FILE
from otaseal.store.prune import Pruned, prune
from otaseal.store.release_notes import ReleaseNotes
from otaseal.store.store import Store
from support.command import Command, otaseal  # noqa: F401
from support.devices import Devices
from support.kills import ACKNOWLEDGED, KILLED, killed_before
from support.releases import make_archive, make_release, view

# The children do nothing but what is tested, whatever threads the test runner has.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

VERSIONS = [f"1.{number}" for number in range(10)]
SHARED = b"shared"


def release_of(version: str) -> Release:
    """Return the release of that version: raw of its own, and a gzip that all of them have."""
    number = VERSIONS.index(version)
    made = make_release(version, version.encode(), SHARED)
    return replace(made, created=f"2026-01-01T00:00:{number:02d}Z", sketch_md5=(f"{number:032x}",) * 4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Ten releases of long ago: 1.0 and 1.1 were in stable before 1.2, a device runs 1.4, another was offered 1.5."""
    shared = Path("/dev/shm")
    folder = shared / f"otaseal-prune-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path / "memory"
    folder.mkdir()
    made = Store.create(folder / "store")
    for version in VERSIONS:
        made.publish(release_of(version), [version.encode(), SHARED])
        os.utime(made.directory / "products/blink/releases" / f"{version}.json", (1, 1))
    for number in range(3):
        made.point("blink", "stable", Pointer(VERSIONS[number]), expected=number)
    made.publish_archive("blink", "stable", make_archive(b"certs"), b"certs", expected=0)
    with Devices(made.directory / DEVICES_FILE) as devices:
        devices.see(Sighting("blink", "beta", "mac:A", f"{4:032x}"), 1.0)
        devices.see(Sighting("blink", "stable", "mac:B", "f" * 32), 1.0)
        devices.offer("blink", "mac:B", "1.5", "e" * 32, 1.0)
    yield made
    shutil.rmtree(folder)


NEEDED = {"1.0", "1.1", "1.2", "1.4", "1.5", "1.9"}


def versions(store: Store) -> set[str]:
    return set(store.releases("blink"))


def test_what_channels_rollbacks_and_devices_need_stays(store: Store) -> None:
    before = view(store)
    planned = prune(FileBackend(store), 1, dry_run=True)
    assert view(store) == before, "nothing was done"
    done = prune(FileBackend(store), 1, by="local:ada")
    assert done == planned
    assert versions(store) == NEEDED
    assert {version for _, version in done.releases} == set(VERSIONS) - NEEDED
    assert (len(done.blobs), done.size, done.kept) == (4, 12, len(NEEDED))
    report = check(store)
    assert (report.whole, report.orphans, report.blobs) == (True, (), len(NEEDED) + 2)
    assert view(store)[1:] == before[1:]
    lines = [line for _, line in store.documents.audit_lines() if line and line["event"] == "prune"]
    assert {(line["version"], line["by"]) for line in lines} == {(one, "local:ada") for one in set(VERSIONS) - NEEDED}
    log = (store.directory / "audit.log").read_bytes()
    assert sweep(store).whole
    assert (store.directory / "audit.log").read_bytes() == log
    assert prune(FileBackend(store), 1) == Pruned((), (), 0, len(NEEDED))


def test_the_latest_stay_and_what_was_published_a_moment_ago(store: Store) -> None:
    assert {version for _, version in prune(FileBackend(store), 4, dry_run=True).releases} == {"1.3"}
    assert prune(FileBackend(store), dry_run=True).releases == ()
    os.utime(store.directory / "products/blink/releases/1.3.json")
    assert "1.3" not in {version for _, version in prune(FileBackend(store), 1, dry_run=True).releases}
    with pytest.raises(InputError, match="'0' releases cannot be kept"):
        prune(FileBackend(store), 0)


def test_every_way_back_is_still_there(store: Store) -> None:
    prune(FileBackend(store), 1)
    for generation, version in ((3, "1.1"), (4, "1.0")):
        assert store.rollback("blink", "stable", expected=generation).pointer.version == version


def test_what_is_said_of_a_release_goes_with_it(store: Store) -> None:
    with FileBackend(store) as backend:
        notes = ReleaseNotes(backend.secrets)
        for version in ("1.2", "1.3"):
            notes.set("blink", version, Notes("fix", "brighter"))
        prune(backend, 1)
        assert set(notes.of("blink")) == {"1.2"}


def test_files_that_nobody_names_go_too(store: Store) -> None:
    orphan = store.directory / blob_name("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    assert prune(FileBackend(store), dry_run=True).blobs == ("ab" * 32,)
    prune(FileBackend(store))
    assert not orphan.exists()
    assert check(store).orphans == ()


def test_a_store_that_is_not_whole_or_of_a_later_otaseal_is_left_alone(store: Store) -> None:
    pointer = store.directory / "products/blink/channels/stable.json"
    whole = pointer.read_bytes()
    pointer.write_bytes(b"damaged")
    with pytest.raises(CorruptStoreError, match="the store is not whole"):
        prune(FileBackend(store), 1)
    pointer.write_bytes(whole.replace(b'"format":2', b'"format":3'))
    with pytest.raises(LaterFormatError, match="the pointer file was made by a newer otaseal"):
        prune(FileBackend(store), 1)
    pointer.write_bytes(whole)
    file = store.directory / DEVICES_FILE
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(LaterFormatError):
        prune(FileBackend(store), 1)
    assert versions(store) == set(VERSIONS)
    assert check(store).whole


@pytest.mark.proof
def test_a_kill_at_any_step_leaves_a_store_that_is_whole(store: Store) -> None:
    case = Store(store.directory.with_name("case"))
    wanted, kills = None, 0
    for call in range(500):
        shutil.rmtree(case.directory, ignore_errors=True)
        shutil.copytree(store.directory, case.directory)
        ended = killed_before(call, lambda: prune(FileBackend(case), 1, by="local:ada"))
        found = sweep(case)
        assert found.whole, (call, found.problems)
        assert versions(case) >= NEEDED
        prune(FileBackend(case), 1)
        assert (versions(case), check(case).whole, check(case).orphans) == (NEEDED, True, ())
        wanted = wanted or view(case)
        assert view(case) == wanted
        if ended == ACKNOWLEDGED:
            break
        assert ended == KILLED
        kills += 1
    else:
        raise AssertionError("it never ended")
    assert kills > 20


def test_the_command(store: Store, otaseal: Command) -> None:  # noqa: F811
    shown = otaseal("store", "prune", store.directory, "--keep", "1", "--dry-run").succeeded().out
    assert "would remove  blink 1.3\n" in shown
    assert "4 releases and 4 files of 12 bytes would go, 6 releases would be kept" in shown
    assert versions(store) == set(VERSIONS)
    done = otaseal("store", "prune", store.directory, "--keep", "1", "--json").succeeded().json
    assert (done["dry_run"], done["kept"], len(done["releases"])) == (False, 6, 4)
    assert versions(store) == NEEDED
    assert json.dumps(done).count("1.3") == 1
    otaseal("store", "prune", store.directory, "--keep", "0").failed(1, "'0' releases cannot be kept")
