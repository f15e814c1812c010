"""The demonstration runs, and holds what it says: where nothing is refused, or for another reason, it fails."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from demo.__main__ import main
from demo.report import write
from demo.steps import PRODUCT, ROOT, Demo, DemoError
from otaseal.pki.certificate import parse_certificates

pytestmark = [pytest.mark.build, pytest.mark.proof]

VOID = ("meta", "rect")
FOREIGN = re.compile(r"""<(?:script|link|img|iframe|object|embed)|\b(?:src|href)=|url\(|@import""")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return a demonstration whose steps were all played, with its server running."""
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        assert demo.play(), demo.steps[-1].proves
        yield demo


@pytest.fixture
def demo(played: Demo) -> Iterator[Demo]:
    """Return the same one; what a test changes in it is put back."""
    kept = {**vars(played), "steps": [*played.steps]}
    yield played
    vars(played).clear()
    vars(played).update(kept)


class Balanced(HTMLParser):
    """Fails on an element that is not closed where it has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_report_is_one_file_that_shows_each_step(demo: Demo, tmp_path: Path) -> None:
    write(tmp_path / "report.html", demo.steps)
    text = (tmp_path / "report.html").read_text()
    page = Balanced()
    page.feed(text)
    assert not page.open
    assert page.seen.count("section") == len(demo.steps) == 16
    devices_part = [step for step in demo.steps if step.after is not step.before]
    assert page.seen.count("svg") == 2 * len(devices_part) == 14
    assert FOREIGN.search(text) is None
    assert str(demo.home) not in text
    assert f"{ROOT}/" not in text
    assert "PRIVATE KEY" not in text
    for said in (
        "device error 12:",
        "device error 62:",
        "device error 56:",
        "304: nothing newer",
        "downloaded image *",
    ):
        assert said in text, said


def offer_it_untouched(demo: Demo) -> None:
    demo.tampered = demo.offered


def trust_the_other_authority(demo: Demo) -> None:
    root = demo.pki / "other" / "server-ca" / "certificate.pem"
    assert demo.device is not None
    demo.device = replace(demo.device, anchors=(parse_certificates(root.read_bytes())[0].der,))


def show_the_right_name(demo: Demo) -> None:
    good = demo.issued(PRODUCT, "main")
    vars(demo).update(issued=lambda *_: good, _otaseal=lambda *_: None)  # the other certificate is there already


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (offer_it_untouched, Demo.step_refuse_tampered),
        (trust_the_other_authority, Demo.step_refuse_other_authority),
        (show_the_right_name, Demo.step_refuse_other_name),
    ],
)
def test_a_step_fails_where_nothing_is_refused(
    demo: Demo, change: Callable[[Demo], None], step: Callable[[Demo], str]
) -> None:
    change(demo)
    assert not demo.play([functools.partial(step, demo)])
    assert not demo.steps[-1].ok
    assert demo.steps[-1].proves == "not refused: updated"


def test_a_refusal_for_another_reason_is_none(demo: Demo) -> None:
    for step, error in (("signature", 11), ("certificate-chain", 12)):
        with pytest.raises(DemoError, match="refused for another reason"):
            demo.refuses(demo.issued(PRODUCT, "main"), demo.tampered, step, error)
    with pytest.raises(DemoError, match="refused for another reason"):
        demo.refuses(demo.issued("other", "main"), demo.offered, "certificate-chain", 56)


def test_the_exit_code_says_that_a_step_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(tmp_path / "demo") == 1
    assert "FAILED: no C++ compiler is installed" in capsys.readouterr().out
    assert "a step FAILED" in (tmp_path / "demo" / "report.html").read_text()
