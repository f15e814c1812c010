"""`certs.ar` as the virtual device reads it, against the C judge on libbearssl, and fact by fact."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.simulator.certstore import CertStore
from otaseal.simulator.x509 import validate
from support import cas
from support.cas import NOW
from support.certstore_cases import CASES, NAME, OTHER, device, ours, raw


def told(store: CertStore, chain: list[bytes]) -> str:
    """Return a verdict on `chain` in the C judge's words."""
    found = validate(chain, store, None, NOW)
    if found.crash:
        return f"crash {found.crash.split()[1]}"
    return f"error {found.error}" if found.error else "ok"


@pytest.mark.parametrize("case", CASES)
def test_verdicts_first_matches_and_chains_are_the_c_judges(case: str, tmp_path: Path) -> None:
    data, leaf = CASES[case][0](), cas.leaf()
    judged, store = device(tmp_path, data, (leaf,)), CertStore.load(data)
    assert [one.verdict for one in store.entries] == judged.verdicts
    hashes = [one.decoded.name_hash for one in store.entries]
    assert [hashes.index(one) for one in hashes] == judged.first
    assert told(store, [leaf]) == judged.chain


def test_f16_the_count_is_healthy_for_a_useless_archive() -> None:
    store = CertStore.load(raw(cas.pem(cas.root()), cas.pem(cas.root(OTHER))))
    assert store.count == 2
    assert validate([cas.leaf()], store, None, NOW).error == 62


def test_f17_the_first_of_a_name_shadows_the_others() -> None:
    right, wrong = cas.root(), cas.root(index=5)
    assert validate([cas.leaf()], CertStore.load(raw(right, wrong)), None, NOW).ok
    assert validate([cas.leaf()], CertStore.load(raw(wrong, right)), None, NOW).error == 62


def test_f18_and_f18b_what_brings_the_device_down_and_when() -> None:
    short = cas.root("short")
    found = validate([cas.leaf("short")], CertStore.load(raw(short)), None, NOW)
    assert (found.crash != "", found.fact, found.error) == (True, "F18", 0)
    two = raw(cas.root() + cas.root(OTHER))
    assert validate([cas.leaf()], CertStore.load(two), None, NOW).fact == "F18b"
    stranger = cas.leaf(OTHER)
    assert validate([stranger], CertStore.load(two), None, NOW).error == 62, "nobody asks for that member"


def test_f18b_a_member_of_size_0_ends_the_scan_and_f19_so_does_one_too_large_for_the_heap() -> None:
    assert CertStore.load(raw(b"", cas.root())).count == 0
    data = ours(cas.root(), cas.root(OTHER))
    assert CertStore.load(data, heap=100).count == 0
    assert CertStore.load(data).count == 2


def test_f18c_a_certificate_that_is_no_ca_is_good_for_itself_alone() -> None:
    alone = cas.root(extensions=())
    store = CertStore.load(raw(alone))
    assert [one.verdict for one in store.entries] == ["pin"]
    assert validate([alone], store, None, NOW).ok
    assert validate([cas.leaf(NAME)], store, None, NOW).error == 62


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_an_archive_of_some_kind(data: bytes, magic: bool) -> None:
    store = CertStore.load(b"!<arch>\n" * magic + data)
    assert all(one.verdict for one in store.entries)
    assert validate([cas.leaf()], store, None, NOW).error


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_damaged_archive_never_trusts_another(where: float, value: int) -> None:
    data = bytearray(raw(cas.root(), cas.root(OTHER)))
    data[int(where * len(data))] = value
    assert not validate([cas.leaf("Third Workshop of Things CA")], CertStore.load(bytes(data)), None, NOW).ok
