"""The virtual device's opinion of a server's chain, against libbearssl itself and against what `pki.check` predicts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.pki.chain import Stack
from otaseal.pki.check import predict
from otaseal.simulator.anchors import AnchorList
from otaseal.simulator.error_numbers import TlsError
from otaseal.simulator.x509 import SIGN, validate
from support.chain_maker import NOW, make, san
from support.chain_rows import ADDRESS, HOST, ROWS, Row
from support.verifiers import Presenter, Question, ask_bearssl, presenting

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


def ders(row: Row) -> tuple[list[bytes], list[bytes]]:
    return [one.der for one in row.chain], [one.der for one in row.anchors]


# An OpenSSL server does not show these certificates at all: alert 40, which is no opinion on them.
NOT_SHOWN = {"usage: leaf with nonRepudiation only", "usage: leaf with keyAgreement only", "key: Ed25519 leaf"}


@pytest.mark.proof
@pytest.mark.parametrize("title", ROWS)
def test_it_says_what_libbearssl_says_with_the_same_number(title: str, presenter: Presenter, tmp_path: Path) -> None:
    row = ROWS[title]()
    chain, anchors = ders(row)
    presenter.present(chain, row.chain[0].key)
    for name in (ADDRESS, HOST):
        found = validate(chain, AnchorList(anchors), name, NOW)
        _, said = ask_bearssl(Question(presenter.port, anchors, name, NOW, tmp_path))
        usable = found.ok and bool(found.usages & SIGN)
        if said == "error 296":
            assert title in NOT_SHOWN
            continue
        expected = "ok" if usable else f"error {found.error or TlsError.WRONG_KEY_USAGE.value}"
        assert said.removesuffix(" anchor") == expected, found.reason
        assert predict(chain, anchors, name, NOW)[Stack.BEARSSL].accepted is usable


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (None, TlsError.X509_EXPIRED),
        (NOW - 11 * DAY, TlsError.X509_EXPIRED),
        (NOW, 0),
        (NOW + 99 * DAY, 0),
        (NOW + 101 * DAY, TlsError.X509_EXPIRED),
    ],
)
def test_f25_the_clock_decides_and_1970_trusts_nobody(now: datetime | None, error: int) -> None:
    chain, anchors = ders(ROWS["good, P-256"]())
    found = validate(chain, AnchorList(anchors), HOST, now)
    assert found.error == error
    assert now is not None or (found.fact == "F25" and "never set" in found.reason)


def test_f20_an_expired_root_is_still_an_anchor() -> None:
    chain, anchors = ders(ROWS["time: root expired"]())
    assert validate(chain, AnchorList(anchors), HOST, NOW).ok


def test_f22_only_dns_names_count_and_f23_an_address_checks_none() -> None:
    chain, anchors = ders(ROWS["names: iPAddress only"]())
    found = validate(chain, AnchorList(anchors), ADDRESS, NOW)
    assert (found.error, found.fact) == (TlsError.X509_BAD_SERVER_NAME, "F22")
    assert validate(chain, AnchorList(anchors), None, NOW).ok


def test_a_second_makes_the_difference() -> None:
    chain, anchors = ders(ROWS["good, P-256"]())
    end = NOW + timedelta(days=100)
    assert validate(chain, AnchorList(anchors), HOST, end).ok
    assert validate(chain, AnchorList(anchors), HOST, end + timedelta(seconds=1)).error == 54
    late = datetime(2060, 1, 1, tzinfo=timezone.utc)
    assert validate([], AnchorList(anchors), HOST, late).error == TlsError.X509_EMPTY_CHAIN


@cache
def good_pair() -> tuple[bytes, bytes]:
    top = make("a root with a name long enough", ca=True)
    return make("an update server", top, names=san(f"dns:{HOST}")).der, top.der


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_no_changed_bit_is_let_through(where: float, bit: int) -> None:
    whole, top = good_pair()
    der = bytearray(whole)
    at = int(where * len(der))
    der[at] ^= 1 << bit
    found = validate([bytes(der)], AnchorList([top]), HOST, NOW)
    # BearSSL skips the parameters of the outer algorithm, which ECDSA has none of: every byte is covered or parsed
    assert found.error


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_anything_is_judged(chain: list[bytes]) -> None:
    _, top = good_pair()
    assert validate(chain, AnchorList([top]), HOST, NOW).error
