"""Kills, failing disks and full ones at every step of publish, promote and rollback: the old state or the new one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import pytest

from otaseal.errors import ConflictError, OtasealError, SystemFaultError
from otaseal.release.archive_record import ArchiveRecord
from otaseal.release.channels import Channel, Pointer
from otaseal.release.record_json import serialise
from otaseal.release.records import Release
from otaseal.store.backup import backup, restore
from otaseal.store.check import Report, check, sweep
from otaseal.store.documents import archive_name, blob_name, channel_name, release_name
from otaseal.store.store import Store
from support.kills import ACKNOWLEDGED, ALL, CHANGING, KILLED, REFUSED, faulted, killed_before, traced
from support.releases import View, make_archive, make_release, view

# The children do nothing but what is tested, whatever threads the test runner has.
pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")]

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
LARGE, SMALL, OTHER = os.urandom(20_000), os.urandom(100), os.urandom(5_000)
CERTS, MORE_CERTS = os.urandom(2_000), os.urandom(4_000)
FIRST = make_release("1.0.0", LARGE, SMALL)
SECOND = make_release("1.1.0", OTHER)
THIRD = make_release("2.0.0", LARGE + b"!", SMALL)
BLOBS = {FIRST: (LARGE, SMALL), SECOND: (OTHER,), THIRD: (LARGE + b"!", SMALL)}
MAX_CALLS = 1000

Operation = Callable[[Store], object]


def publishing(release: Release) -> Operation:
    return lambda store: store.publish(release, BLOBS[release], "alice")


def pointing(version: str, expected: int, channel: str = "stable", percent: int = 100) -> Operation:
    return lambda store: store.point("blink", channel, Pointer(version, percent, "salt"), expected=expected, by="alice")


def rolling_back(expected: int) -> Operation:
    return lambda store: store.rollback("blink", "stable", expected=expected, by="alice")


def giving_out(data: bytes, expected: int) -> Operation:
    record = make_archive(data)
    return lambda store: store.publish_archive("blink", "stable", record, data, expected=expected, by="alice")


LIFE: dict[str, Operation] = {
    "publish into an empty store": publishing(FIRST),
    "publish the same again": publishing(FIRST),
    "point a new channel": pointing("1.0.0", 0),
    "publish": publishing(SECOND),
    "roll out to a tenth": pointing("1.1.0", 1, percent=10),
    "roll out to all": pointing("1.1.0", 2),
    "publish with a blob that is there": publishing(THIRD),
    "promote to another channel": pointing("1.1.0", 0, "beta"),
    "promote": pointing("2.0.0", 3),
    "roll back": rolling_back(4),
    "roll back further": rolling_back(5),
    "give out certificates": giving_out(CERTS, 0),
    "give out other certificates": giving_out(MORE_CERTS, 1),
}


class NaiveStore(Store):
    """The store as most people write it first: files written in place, the record before what it needs."""

    def publish(self, release: Release, blobs: object, by: str = "") -> None:
        given = BLOBS[release]
        record = self.directory / release_name(release.product, release.version)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_bytes(serialise(release))
        for data in given:
            path = self.directory / blob_name(hashlib.sha256(data).hexdigest())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def point(self, product: str, channel: str, pointer: Pointer, *, expected: int, by: str = "") -> Channel:
        before = self.current(product, channel)
        return self._overwrite(product, channel, before.advanced(pointer) if before else Channel(pointer))

    def rollback(self, product: str, channel: str, *, expected: int, by: str = "") -> Channel:
        before = self.current(product, channel)
        assert before is not None
        return self._overwrite(product, channel, before.rolled_back())

    def _overwrite(self, product: str, channel: str, after: Channel) -> Channel:
        path = self.directory / channel_name(product, channel)
        with self.documents.change():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(after.to_json())
        return after

    def publish_archive(
        self, product: str, channel: str, record: ArchiveRecord, data: bytes, *, expected: int, by: str = ""
    ) -> ArchiveRecord:
        after = record.after(self.archive(product, channel))
        path = self.directory / archive_name(product, channel)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(after.to_json())
        blob = self.directory / blob_name(record.blob)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        return after


@dataclass(frozen=True)
class Case:
    """One operation on copies of the store as it is before it; `before`, `after` are what readers see."""

    base: Store
    operation: Operation
    before: View
    after: View
    report: Report

    def copy(self, place: Path) -> Store:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.base.directory, place)
        return type(self.base)(place)

    def judge(self, store: Store, ended: str) -> None:
        """Assert that readers see one state or the other, and that the next start and the same again put all right."""
        seen = view(store)
        assert seen == self.after if ended == ACKNOWLEDGED else seen in (self.before, self.after)
        found = sweep(store)
        assert found.whole, found.problems
        assert_audited(store, seen)
        if ended != ACKNOWLEDGED:
            try:
                self.operation(store)
            except ConflictError:
                assert seen == self.after
        assert view(store) == self.after
        assert_audited(store, self.after)
        assert check(store) == self.report


def assert_audited(store: Store, seen: View) -> None:
    """Every release has its line, every channel that of its generation."""
    lines = [line for _, line in store.documents.audit_lines() if line]
    assert {(one["product"], one["version"]) for one in lines if one["event"] == "publish"} == set(seen[0])
    last = {(one["product"], one["channel"]): one["generation"] for one in lines if "generation" in one}
    assert last == {name: channel.generation for name, channel in seen[1].items() if channel}
    certs = {(one["product"], one["channel"]): one["certs_generation"] for one in lines if one["event"] == "certs"}
    assert certs == {name: record.generation for name, record in seen[2].items() if record}


def cases(folder: Path, kind: type[Store] = Store) -> Iterator[tuple[str, Case]]:
    """Yield each operation of a store's life with the states around it."""
    base = kind.create(folder / "base")
    for name, operation in LIFE.items():
        after = kind(folder / "after")
        shutil.rmtree(after.directory, ignore_errors=True)
        shutil.copytree(base.directory, after.directory)
        operation(after)
        yield name, Case(base, operation, view(base), view(after), check(after))
        operation(base)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of memory, where flushing is free: kills keep what the kernel has, flushed or not."""
    shared = Path("/dev/shm")
    folder = shared / f"otaseal-{os.getpid()}-{tmp_path.name}" if os.access(shared, os.W_OK) else tmp_path / "memory"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def everything_in(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return the names below a folder, with mode and content."""
    return {path: (path.stat().st_mode, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


def kill_everywhere(
    folder: Path, kind: type[Store], judge: Callable[[Case, Store, str], None], calls: Set[str] = CHANGING
) -> int:
    """Kill at every call of every operation of the life; return the number of kills.

    Most calls change nothing that a kill leaves behind: the same files are judged once.
    """
    kills = 0
    for name, case in cases(folder, kind):
        judged = None
        for call in range(MAX_CALLS):
            store = case.copy(folder / "case")
            ended = killed_before(call, lambda store=store, case=case: case.operation(store), calls)
            left = ended, everything_in(store.directory)
            if left != judged:
                judge(case, store, ended)
            judged = left
            if ended == ACKNOWLEDGED:
                break
            assert ended == KILLED
            kills += 1
        else:
            raise AssertionError(f"'{name}' never ended")
    return kills


def test_a_kill_at_any_step_leaves_the_old_state_or_the_new_one(memory: Path) -> None:
    kills = 0
    for number, calls in enumerate((CHANGING, ALL) if THOROUGH else (CHANGING,)):
        (memory / str(number)).mkdir()
        kills += kill_everywhere(memory / str(number), Store, Case.judge, calls)
    assert kills >= (1000 if THOROUGH else 300)


def test_making_backing_up_and_restoring_are_whole_or_not_at_all(memory: Path) -> None:
    *_, (_, case) = cases(memory)
    steps: dict[str, Callable[[], object]] = {
        "create": lambda: Store.create(memory / "made"),
        "backup": lambda: backup(case.base, memory / "made"),
        "restore": lambda: restore(memory / "backup.tar", memory / "made"),
    }
    backup(case.base, memory / "backup.tar")
    for name, step in steps.items():
        for call in range(MAX_CALLS):
            ended = killed_before(call, step)
            made = memory / "made"
            if name == "create":
                if ended == KILLED and not (made / "store.json").exists():
                    step()  # goes on from there
                assert check(Store.open(made)) == Report(0, 0, 0, (), (), ())
            elif name == "backup" and made.exists():
                assert made.read_bytes() == (memory / "backup.tar").read_bytes()
            elif made.exists():
                assert view(Store.open(made)) == case.after
            shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)
            for left in memory.glob(".made.*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            if ended == ACKNOWLEDGED:
                break
        else:
            raise AssertionError(f"'{name}' never ended")


def test_the_same_kills_break_a_naive_store(memory: Path) -> None:
    torn: list[str] = []

    def judge(case: Case, store: Store, _: str) -> None:
        try:
            seen = view(store)
        except (OtasealError, AssertionError) as error:
            torn.append(str(error))
        else:
            assert seen in (case.before, case.after)

    kill_everywhere(memory, NaiveStore, judge)
    assert [one for one in torn if "pointer file is damaged" in one]
    assert [one for one in torn if one.endswith("is missing")]
    assert [one for one in torn if one.endswith("is damaged") and "blob" in one]


FAULTS = [
    ("fsync,fdatasync", "EIO"),
    ("write,pwrite64", "ENOSPC"),
    ("write,pwrite64", "EIO"),
    ("openat,open", "ENOSPC"),
    ("link,linkat", "ENOSPC"),
    ("rename,renameat,renameat2", "EIO"),
    ("mkdir,mkdirat", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("flock", "ENOLCK"),
    ("fchmod,chmod,fchmodat", "EROFS"),
    ("unlink,unlinkat", "EIO"),
]
if THOROUGH:
    FAULTS += [("fsync,fdatasync", "ENOSPC"), ("openat,open", "EMFILE")]
FAULTED = LIFE if THOROUGH else ["publish", "promote", "roll back"]


@pytest.mark.parametrize(("calls", "error"), FAULTS)
def test_a_system_call_that_fails_tears_nothing(memory: Path, calls: str, error: str) -> None:
    faults = 0
    for name, case in cases(memory):
        for number in range(1, MAX_CALLS if name in FAULTED else 1):
            store = case.copy(memory / "case")
            action = lambda store=store, case=case: case.operation(store)  # noqa: E731
            ended, injected = faulted(calls, error, number, action, memory / "log")
            case.judge(store, ended)
            if not injected:
                assert ended == ACKNOWLEDGED
                break
            faults += 1
            if calls.startswith("fsync"):
                assert ended == REFUSED, "what was not flushed is not on the disk"
    assert faults or calls == "unlink,unlinkat", "nothing is removed when all goes well"


TRACED = "openat,mkdir,write,fsync,link,linkat,rename,ftruncate"
NAMED = re.compile(r'(?:mkdir|rename|linkat)\(.*?(?:(?<=<)(?P<folder>[^>]+)>, )?"(?P<path>[^"]+)"(?:, \w+)?\) += 0$')
OPENED = re.compile(r'openat\(.*"(?P<path>[^"]+)", (?P<flags>[A-Z_|]+).*= (?P<fd>\d+)<(?P<real>[^>]*)>')
ON_DESCRIPTOR = re.compile(r"(?P<call>write|fsync|ftruncate)\((?P<fd>\d+)<(?P<real>[^>]*)>(?:\(deleted\))?[,)]")


def unflushed(calls: list[str], existing: Set[str]) -> Iterator[str]:
    """Yield what a power cut could make of these calls: names of unwritten content, and steps in the wrong order.

    A name counts when its directory was flushed after it; until then, the next name must not be given.
    """
    loose: set[str] = set()  # directories with a new name in them
    dirty: set[str] = set()  # files with content that only memory has
    descriptors: dict[str, str] = {}
    for call in calls:
        name = None
        if opened := OPENED.match(call):
            descriptors[opened["fd"]] = opened["real"]
            if "O_CREAT" in opened["flags"] and opened["path"] not in existing and not opened["path"].endswith(".tmp"):
                name = opened["path"]
        elif on := ON_DESCRIPTOR.match(call):
            (dirty.discard if on["call"] == "fsync" else dirty.add)(on["real"])
            if on["call"] == "fsync":
                loose.discard(on["real"])
        elif named := NAMED.match(call):
            name = f"{named['folder']}/{named['path']}" if named["folder"] else named["path"]
            source = re.search(r'^\w+\((?:AT_FDCWD[^,]*, )?"([^"]+)"', call)
            assert source is not None
            content = descriptors.get(source[1].removeprefix("/proc/self/fd/"), source[1])
            if content in dirty:
                yield f"named before it is flushed: {call}"
        else:
            raise AssertionError(f"not understood: {call}")
        if name is not None:
            yield from (f"{folder} is not flushed before: {call}" for folder in loose)
            loose.add(str(Path(name).parent))
    yield from (f"acknowledged and not flushed: {one}" for one in dirty | loose)


@pytest.mark.parametrize(("kind", "safe"), [(Store, True), (NaiveStore, False)])
def test_a_power_cut_finds_every_step_flushed_before_the_next(memory: Path, kind: type[Store], safe: bool) -> None:
    found: dict[str, list[str]] = {}
    for name, case in cases(memory, kind):
        store = case.copy(memory / "case")
        existing = {str(path) for path in store.directory.rglob("*")}
        action = lambda store=store, case=case: case.operation(store)  # noqa: E731
        calls = traced(TRACED, action, memory / "log")
        assert len(calls) > 2
        found[name] = list(unflushed(calls, existing))
    if safe:
        assert not any(found.values()), found
    else:
        assert all(found.values())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT PERMITTED: mounting a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_at_any_page_keeps_what_was_acknowledged(memory: Path, small_disk: Path) -> None:
    refused = 0
    for name, case in cases(memory):
        for pages in range(0, 64):
            store = case.copy(small_disk / "case")
            space = os.statvfs(small_disk)
            (small_disk / "filler").write_bytes(bytes((space.f_bavail - pages) * space.f_frsize))
            ended = ACKNOWLEDGED
            try:
                case.operation(store)
            except SystemFaultError:
                assert view(store) in (case.before, case.after)
                refused, ended = refused + 1, REFUSED
            (small_disk / "filler").unlink()
            case.judge(store, ended)
            if ended == ACKNOWLEDGED:
                break
        else:
            raise AssertionError(f"'{name}' never had enough space")
    assert refused > 10
