"""The virtual device against judges in C on libbearssl and zlib, which share no line with it: one verdict a case."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest

from otaseal.chips import esp8266_cores
from otaseal.chips.esp8266_cores import SignedGzip
from otaseal.simulator import core, eboot, updater
from otaseal.simulator.certstore import CertStore
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.updater import Setup
from otaseal.simulator.x509 import validate
from support import broken_archives, broken_images, peers
from support.broken_archives import Case as ArchiveCase
from support.broken_images import Case
from support.cas import NOW

pytestmark = pytest.mark.proof

CORES = ("2.7.4", "3.0.2", "3.1.2", "head")
THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
SHARE = 400 if THOROUGH else 20
LAYOUT = LAYOUTS["512k64"]
FACTS = {"F1", "F2", "F3", "F5", "F7", "F8", "F8b", "F8c", "F9", "F10", "F11", "F29"}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    found = broken_images.cases(SHARE)
    assert len(found) >= 300
    assert {case.fact for case in found} >= FACTS
    return found


def updater_c_says(core: str, cases: list[Case], folder: Path) -> list[str]:
    program = peers.compiled("updater.c", "libbearssl-dev and zlib1g-dev", "bearssl", "z")
    lines = []
    for index, case in enumerate(cases):
        chip, key, body = (folder / f"{index}.{kind}" for kind in ("flash", "key", "body"))
        chip.write_bytes(case.flash)
        key.write_bytes(case.key or b"")
        body.write_bytes(case.data)
        words = (core, key if case.key else "-", chip, LAYOUT.fs_start, LAYOUT.flash_size, case.declared, body)
        lines.append(" ".join(map(str, words)))
    done = subprocess.run([program], input="\n".join(lines), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(cases)
    return said


def device_says(core: str, case: Case) -> str:
    """Return the virtual device's verdict in the words of updater.c."""
    staged = updater.update(case.flash, case.data, Setup(core, LAYOUT, key=case.key), case.declared)
    if staged.fault:
        return f"error {staged.error}"
    after = eboot.restart(staged.flash, staged.command, core)
    word = "bricks" if not after.starts else "boots" if after.starts_new else "keeps"
    return f"{word} {zlib.crc32(after.flash):08x}"


def same(one: str, other: str) -> bool:
    """Return whether two verdicts agree; "-" in place of a CRC is flash that nobody can foretell."""
    return one == other or (one.endswith("-") and other.split()[0] == one.split()[0])


def test_both_tables_of_cores_say_the_same() -> None:
    """Written down twice, so that the device owes nothing to what it judges: here they are held against each other."""
    assert set(core.CORES) == set(esp8266_cores.CORES)
    for name, row in core.CORES.items():
        other = esp8266_cores.CORES[name]
        assert (row.commit, row.verifies, row.digest_info) == (other.commit, other.verifies, other.digest_info)
        assert row.gzip == (other.signed_gzip is not SignedGzip.REFUSED)
        assert row.trailer_copied == (other.signed_gzip is not SignedGzip.STARTS)
        assert (row.length_at, row.commit_at) == (other.places.words, other.places.commit)


@pytest.mark.parametrize("core", CORES)
def test_updates(core: str, cases: list[Case], tmp_path: Path) -> None:
    judged = updater_c_says(core, cases, tmp_path)
    pairs = [(case.name, said, device_says(core, case)) for case, said in zip(cases, judged, strict=True)]
    assert [pair for pair in pairs if not same(*pair[1:])] == []
    kinds = Counter(said.split()[0] for said in judged)
    assert kinds["boots"] > 100
    assert kinds["error"] > 100
    assert kinds["bricks"] > 20
    assert kinds["keeps"] > 5


def certstore_c_says(cases: list[ArchiveCase], folder: Path) -> list[list[str]]:
    program = peers.compiled("certstore.c", "libbearssl-dev", "bearssl")
    lines = []
    for index, case in enumerate(cases):
        (folder / f"{index}.ar").write_bytes(case.archive)
        for place, der in enumerate(case.chain):
            (folder / f"{index}.{place}").write_bytes(der)
        shown = [f"{index}.{place}" for place in range(len(case.chain))]
        lines.append(" ".join([f"{index}.ar", str(int(NOW.timestamp())), *shown]))
    done = subprocess.run(
        [program, "-"], cwd=folder, input="\n".join(lines), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("end\n")[:-1]
    assert len(answers) == len(cases)
    return [answer.splitlines() for answer in answers]


def store_says(case: ArchiveCase) -> list[str]:
    """Return the virtual device's verdicts in the words of certstore.c, without the keys' hashes."""
    store = CertStore.load(case.archive)
    hashes = [entry.decoded.name_hash for entry in store.entries]
    lines = [f"count {store.count}"]
    for index, entry in enumerate(store.entries):
        first = hashes.index(entry.decoded.name_hash)
        lines.append(f"member {index} {entry.verdict} {first} {entry.decoded.name_hash.hex()}")
    found = validate(case.chain, store, None, NOW)
    end = f"crash {found.crash.split()[1]}" if found.crash else f"error {found.error}" if found.error else "ok"
    return [*lines, f"chain {end}"]


def test_archives(tmp_path: Path) -> None:
    cases = broken_archives.cases(SHARE, THOROUGH)
    assert len(cases) >= 300
    assert {case.fact for case in cases} >= {"F16", "F17", "F18", "F18b", "F18c", "F19", "F20"}
    judged = certstore_c_says(cases, tmp_path)
    differs = []
    for case, lines in zip(cases, judged, strict=True):
        said = [line.rpartition(" ")[0] if line.startswith("member") else line for line in lines]
        if said != store_says(case):
            differs.append((case.name, said, store_says(case)))
    assert differs == []
    ends = Counter(" ".join(lines[-1].split()[1:2]) for lines in judged)
    assert min(ends["ok"], ends["error"], ends["crash"]) > 30
    kinds = Counter(line.split()[2] for lines in judged for line in lines if line.startswith("member"))
    assert min(kinds[one] for one in ("anchor", "pin", "overflow", "crash", "dead")) > 5
