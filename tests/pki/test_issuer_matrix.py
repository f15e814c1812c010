"""Whom each stack takes for the issuer: names, key identifiers and serial numbers in every combination.

As in the matrix of single faults no verdict is written down here: the stacks are asked, and say what is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from otaseal.pki.chain import Stack
from otaseal.pki.check import examine, predict
from support.chain_maker import NOW, SERVER_AUTH, Made, make, make_ec, make_rsa, named, raw_extension, rebuilt, san
from support.verifiers import VERIFIERS, Presenter, Question, presenting

HOST = "update.example.com"
TOP, LEAF = "a root with a name long enough", "an update server"
DAY = timedelta(days=1)
SKI, AKI = x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier


def root(name: str = TOP, **options: Any) -> Made:
    return make(name, ca=True, **options)


def leaf(issuer: Made, name: str = LEAF, **options: Any) -> Made:
    return make(
        name, issuer, **({"names": san(f"dns:{HOST}"), "uses": (SERVER_AUTH,), "key": make_ec(index=86)} | options)
    )


def identifier(top: Made, kind: str) -> x509.UnrecognizedExtension:
    """An authority key identifier that names `top`, or does so wrongly."""
    key = SKI.from_public_key(top.key.public_key()).digest
    names = [x509.DirectoryName(top.certificate.issuer)]
    others = [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another authority")]))]
    serial = top.certificate.serial_number
    made = {
        "key": AKI(key, None, None),
        "another key": AKI(bytes(20), None, None),
        "serial": AKI(None, names, serial),
        "another serial": AKI(None, names, serial + 1),
        "another issuer": AKI(None, others, serial),
        "key and another serial": AKI(key, names, serial + 1),
    }
    return raw_extension("2.5.29.35", "3000" if kind == "empty" else made[kind].public_bytes().hex())


KINDS = ("none", "key", "another key", "serial", "another serial", "another issuer", "key and another serial", "empty")


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


@dataclass(frozen=True)
class Asked:
    presenter: Presenter
    folder: Path

    def differs(self, chain: list[Made], anchors: list[Made]) -> list[str]:
        """Return where a stack does something else than is predicted."""
        sent, trusted = [one.der for one in chain], [one.der for one in anchors]
        self.presenter.present(sent, chain[0].key)
        predicted = predict(sent, trusted, HOST, NOW)
        wrong = []
        for stack, ask in VERIFIERS.items():
            accepted, said = ask(Question(self.presenter.port, trusted, HOST, NOW, self.folder))
            if accepted is not predicted[stack].accepted:
                reasons = [one.rule for one in predicted[stack].findings]
                wrong.append(f"{stack.value}: {accepted} ({said}), predicted {reasons or 'acceptance'}")
        return wrong


@pytest.fixture
def asked(presenter: Presenter, tmp_path: Path) -> Asked:
    return Asked(presenter, tmp_path)


@pytest.mark.proof
@pytest.mark.parametrize(("name", "kind"), [*product((TOP, LEAF), KINDS)])
def test_every_identifier_is_read_as_the_stacks_read_it(name: str, kind: str, asked: Asked) -> None:
    wrong = {}
    for of_root, of_leaf, key in ((a, b, c) for a in (True, False) for b in (True, False) for c in ("P", "RSA")):
        top = root(without=() if of_root else (SKI,))
        others = () if kind == "none" else (identifier(top, kind),)
        one = leaf(
            top,
            name,
            key=make_rsa(2048, 1) if key == "RSA" else make_ec(index=86),
            others=others,
            without=(AKI,) if of_leaf else (AKI, SKI),
        )
        differs = asked.differs([one], [top])
        if differs:
            wrong[f"SKI of the root {of_root}, of the leaf {of_leaf}, {key}"] = differs
    assert not wrong


def twins(*, told_apart: bool, right_first: bool) -> tuple[list[Made], list[Made]]:
    """Two roots of one name, of which one signed; with or without key identifiers."""
    without = () if told_apart else (SKI, AKI)
    tops = [root(without=without), root(without=without, key=make_ec(index=81))]
    return [leaf(tops[0], without=without)], tops if right_first else tops[::-1]


def twin_intermediates(*, told_apart: bool, right_first: bool) -> tuple[list[Made], list[Made]]:
    top, without = root(), () if told_apart else (SKI, AKI)
    middles = [
        make("an intermediate authority", top, ca=True, without=without, key=make_ec(index=index)) for index in (82, 83)
    ]
    sent = middles if right_first else middles[::-1]
    return [leaf(middles[0], without=without), *sent], [top]


def renewed(kind: str, *, both: bool) -> tuple[list[Made], list[Made]]:
    """A root that was issued again with its key, and a leaf that names the older one."""
    old, new = root(end=-DAY), root()
    one = leaf(old, others=(identifier(old, kind),), without=(AKI,))
    return [one], [old, new] if both else [new]


def twins_by_date(*first: int) -> tuple[list[Made], list[Made]]:
    """Two roots of one name and key, of which the days of the first's and of the second's life end in the past."""
    tops = [root(start=-400 * DAY, end=days * DAY) for days in first]
    return [leaf(tops[0])], tops


def rolled_over() -> tuple[list[Made], list[Made]]:
    """The new key of a CA that kept its name, signed by the old one; devices trust the old root."""
    old = root()
    link = make(TOP, old, ca=True, key=make_ec(index=84))
    return [leaf(link), link], [old]


def of_itself() -> tuple[list[Made], list[Made]]:
    """A server that is trusted itself, and has the name of the CA that issued it."""
    top = root()
    one = leaf(top, TOP, without=(AKI,))
    return [one], [one]


def mimic() -> tuple[list[Made], list[Made]]:
    """A server's own self-signed certificate with the name of what is trusted."""
    return [make(TOP, None, names=san(f"dns:{HOST}"), uses=(SERVER_AUTH,))], [root(key=make_ec(index=85))]


def in_capitals() -> tuple[list[Made], list[Made]]:
    """The root and what it issued spell its name in another case, and the leaf has the root's name."""
    top = root()
    one = rebuilt(leaf(top, TOP, without=(AKI,)), top, lambda f: [*f[:3], named(0x0C, TOP.upper().encode()), *f[4:]])
    return [one], [top]


def root_sent_again() -> tuple[list[Made], list[Made]]:
    """The renewed root is sent, the old one is trusted."""
    old = root()
    new = root(start=-DAY)
    return [leaf(old), new], [old]


CASES = {
    **{
        f"twins: told apart {a}, right first {b}": lambda a=a, b=b: twins(told_apart=a, right_first=b)
        for a, b in product((True, False), repeat=2)
    },
    **{
        f"twin intermediates: told apart {a}, right first {b}": lambda a=a, b=b: twin_intermediates(
            told_apart=a, right_first=b
        )
        for a, b in product((True, False), repeat=2)
    },
    **{
        f"renewed: by {kind}, both {both}": lambda kind=kind, both=both: renewed(kind, both=both)
        for kind, both in product(("key", "serial"), (True, False))
    },
    "dates: both over, the second later": lambda: twins_by_date(-20, -10),
    "dates: first over": lambda: twins_by_date(-20, 20),
    "dates: second over": lambda: twins_by_date(20, -20),
    "rolled over": rolled_over,
    "trusted itself, with its CA's name": of_itself,
    "self-signed with the name of what is trusted": mimic,
    "names in another case": in_capitals,
    "renewed root sent": root_sent_again,
}


@pytest.mark.proof
@pytest.mark.parametrize("title", CASES)
def test_every_stack_chooses_the_issuer_that_is_predicted(title: str, asked: Asked) -> None:
    assert asked.differs(*CASES[title]()) == []


def refusals(chain: list[Made], anchors: list[Made]) -> dict[str, tuple[Stack, ...]]:
    found = examine([one.der for one in chain], [one.der for one in anchors], HOST, NOW)
    return {one.rule: one.stacks for one in found.findings if one.stacks}


def test_what_openssl_takes_for_an_issuer_is_told_with_its_own_fix() -> None:
    top, openssl = root(), (Stack.OPENSSL, Stack.CURL)
    assert refusals([leaf(top, TOP, without=(AKI,))], [top]) == {"looks-self-signed": openssl}
    wrong = leaf(top, others=(identifier(top, "another serial"),), without=(AKI,))
    assert refusals([wrong], [top]) == {"issuer-identifier": openssl}
    assert refusals(*twins(told_apart=False, right_first=False))["not-signed"] == openssl
