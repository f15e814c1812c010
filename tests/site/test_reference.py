"""docs/reference.py: what the code has is on the page that is made of it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from otaseal import cli, settings
from otaseal.server.operator_api import openapi
from otaseal.simulator.error_numbers import HttpError, TlsError, UpdateError

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        yield importlib.import_module("reference")


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    return reference.pages()


def headings(page: str) -> list[str]:
    return re.findall(r"^##+ `(.+)`$", page, re.M)


def test_every_option_has_its_heading(pages: dict[str, str]) -> None:
    assert headings(pages["options"]) == [option.ini_name for option in settings.OPTIONS.values()]
    assert "- Default: `stable`" in pages["options"]
    assert "- Values: use one of: drop, keep, refuse\n" in pages["options"]


def test_every_command_has_its_heading(pages: dict[str, str]) -> None:
    found = headings(pages["commands"])
    assert {name.split()[1] for name in found} == set(cli.COMMANDS)
    assert {"otaseal sign", "otaseal key new", "otaseal store prune"} <= set(found)
    assert "| `--max-failed " in pages["commands"]


def test_every_error_has_its_row(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| (-?\d+) \| `(\w+)` \|", pages["errors"], re.M)
    library = re.findall(r"^ +(\w+) = (\d+),", (ROOT / "firmware/OtaSeal/src/otaseal/errors.h").read_text(), re.M)
    ours = [(number, name) for name, number in library]
    stock = [(str(int(one)), one.name) for kind in (UpdateError, HttpError, TlsError) for one in kind]
    assert len(ours) > 30
    assert rows == ours + stock


def test_every_error_of_the_library_has_the_text_that_a_device_prints(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| (\d+) \| `\w+` \| \*\*(.*?)\*\*", pages["errors"], re.M)
    texts = {int(number): text for number, text in rows}
    assert texts[12] == "TLS failed"
    assert texts[44] == "certificates: not written"
    assert [number for number, text in texts.items() if text == "no error"] == [0]


def test_every_endpoint_has_its_heading(pages: dict[str, str]) -> None:
    found = headings(pages["operator-api"])
    assert sorted(found) == sorted(f"{one.method} {one.path}" for one in openapi.ENDPOINTS)


def test_a_page_that_stays_as_it_is_keeps_its_time(reference: ModuleType, tmp_path: Path) -> None:
    reference.write(tmp_path / "reference")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "reference").iterdir()}
    (tmp_path / "reference" / "errors.md").write_text("old")
    reference.write(tmp_path / "reference")
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "reference").iterdir()}
    assert {name for name, time in after.items() if time != before[name]} == {"errors.md"}
