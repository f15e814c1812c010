"""What `check` predicts is what BearSSL, mbedTLS, OpenSSL (as Python 3.13 uses it) and curl do, row by row.

No verdict is written down here: every row is shown to all four, over a real handshake, and they say what is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.pki.chain import Stack
from otaseal.pki.check import examine, predict
from support.chain_maker import (
    NOW,
)
from support.chain_rows import ADDRESS, HOST, ROWS
from support.verifiers import VERIFIERS, Presenter, Question, presenting


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


@pytest.mark.proof
@pytest.mark.parametrize("title", ROWS)
def test_every_stack_does_what_is_predicted(title: str, presenter: Presenter, tmp_path: Path) -> None:
    row = ROWS[title]()
    chain, anchors = [one.der for one in row.chain], [one.der for one in row.anchors]
    presenter.present(chain, row.chain[0].key)
    wrong = []
    for name in (ADDRESS, HOST):
        question = Question(presenter.port, anchors, name, NOW, tmp_path)
        predicted = predict(chain, anchors, name, NOW)
        for stack, ask in VERIFIERS.items():
            accepted, said = ask(question)
            if accepted is not predicted[stack].accepted:
                reasons = [one.rule for one in predicted[stack].findings]
                wrong.append(f"{stack.value} on {name}: {accepted} ({said}), predicted {reasons or 'acceptance'}")
    assert not wrong


def test_the_matrix_tells_the_stacks_apart() -> None:
    """Each stack refuses something, and each pair of stacks disagrees somewhere: else the table would prove little."""
    verdicts = set()
    for row in (ROWS[title]() for title in ROWS if "4096" not in title):
        chain, anchors = [one.der for one in row.chain], [one.der for one in row.anchors]
        for name in (ADDRESS, HOST):
            predicted = predict(chain, anchors, name, NOW)
            verdicts.add(tuple(predicted[stack].accepted for stack in Stack))
    assert len({index for one in verdicts for index in range(4) if not one[index]}) == 4
    assert all(any(one[a] != one[b] for one in verdicts) for a in range(4) for b in range(a))


def test_a_short_subject_is_dangerous_though_all_accept() -> None:
    row = ROWS["subject: root's is short"]()
    report = examine([row.chain[0].der], [row.anchors[0].der], HOST, NOW)
    assert all(one.accepted for one in report.verdicts.values())
    assert [one.rule for one in report.findings if one.dangerous] == ["short-subject"]
    assert not report.good
