"""What `check` reports beside the verdicts: each finding once, the fix, advice, and refusals of what is not a chain."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.pki.certificate import parse_certificate, parse_certificates
from otaseal.pki.chain import Stack
from otaseal.pki.check import Report, examine, predict
from otaseal.pki.rules import RULES
from support.chain_maker import NOW, SERVER_AUTH, Made, make, make_ec, make_rsa, san

HOST = "update.example.com"


def root(name: str = "a root with a name long enough", **options: object) -> Made:
    return make(name, ca=True, **options)


def report(chain: list[Made], anchors: list[Made]) -> Report:
    return examine([one.der for one in chain], [one.der for one in anchors], HOST, NOW)


def advice(found: Report) -> set[str]:
    return {one.rule for one in found.findings if not one.stacks}


def test_a_finding_stands_once_and_names_all_who_refuse() -> None:
    top = root()
    found = report([make("a server", top, names=san("dns:other"), end=timedelta(days=-1))], [top])
    by_rule = {one.rule: one for one in found.findings}
    assert len(by_rule) == len(found.findings)
    assert set(by_rule["expired"].stacks) == set(by_rule["name"].stacks) == set(Stack)
    assert HOST in by_rule["name"].message
    assert all(one.hint and one.fact for one in found.findings)


def test_every_rule_is_told_in_our_style() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.hint and not rule.hint.endswith(".") and rule.stacks for rule in RULES)


@pytest.mark.parametrize(
    ("chain", "anchors", "expected"),
    [
        (lambda t: [make("s", t, names=san(f"dns:{HOST}"))], lambda t: [t], set()),
        (lambda t: [make("s", t), t], lambda t: [t], {"root-sent"}),
        (lambda t: [make("s", t, end=timedelta(days=500))], lambda t: [t], {"long-life"}),
        (lambda t: [make("s", t, key=make_ec("secp384r1"))], lambda t: [t], {"dear-key"}),
        (lambda t: [make("s", t, key=make_rsa(1024))], lambda t: [t], {"weak-key"}),
        (lambda t: [make("s", t)], lambda t: [t, root(key=make_ec(index=5))], {"shadowed-anchor"}),
        (lambda t: [t], lambda t: [t], {"anchor-is-server"}),
        (lambda t: [make("s", t)], lambda t: [t, root("x")], {"short-subject"}),
    ],
)
def test_advice(chain: object, anchors: object, expected: set[str]) -> None:
    top = root()
    assert advice(report(chain(top), anchors(top))) == expected  # type: ignore[operator]


def test_what_is_dangerous_is_not_good() -> None:
    short = root("x")
    leaf = make("a server", short, names=san(f"dns:{HOST}"), uses=(SERVER_AUTH,))
    found = report([leaf], [short])
    assert all(one.accepted for one in found.verdicts.values())
    assert not found.good


@given(st.binary(max_size=60))
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        predict([data], [], HOST, NOW)
    with pytest.raises(InputError):
        parse_certificate(data)


@cache
def good_pair() -> tuple[bytes, bytes]:
    top = root()
    return make("a server", top, names=san(f"dns:{HOST}"), uses=(SERVER_AUTH,)).der, top.der


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_damaged_certificate_is_judged_or_refused(where: float, bit: int) -> None:
    whole, top = good_pair()
    der = bytearray(whole)
    der[int(where * len(der))] ^= 1 << bit
    try:
        verdicts = predict([bytes(der)], [top], HOST, NOW)
    except InputError:
        return
    assert not any(one.accepted for one in verdicts.values()), "a signature covers every byte"


@pytest.mark.parametrize(
    "damage", [lambda der: der + b"\0", lambda der: der[:-1], lambda der: der * 2, lambda der: b""]
)
def test_exactly_one_certificate(damage: object) -> None:
    with pytest.raises(InputError):
        parse_certificate(damage(root().der))  # type: ignore[operator]


def test_a_chain_without_a_certificate_is_refused() -> None:
    with pytest.raises(InputError, match="without a certificate"):
        predict([], [root().der], HOST, NOW)


def test_pem_holds_several_and_not_too_many() -> None:
    pem = root().certificate.public_bytes(Encoding.PEM)
    assert len(parse_certificates(pem * 3)) == 3
    with pytest.raises(InputError, match="3 certificates"):
        parse_certificate(pem * 3)
    with pytest.raises(InputError, match="too many"):
        parse_certificates(pem * 501)
    with pytest.raises(InputError, match="not one whole"):
        parse_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
