"""SBOMs as they are read: of other programs too, and several made one."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.sbom import document
from otaseal.sbom.cyclonedx import Product
from otaseal.sbom.cyclonedx import document as written
from otaseal.sbom.parts import Kind, Part, read_part
from support import bom_schema

SIGNED = (b"for the one board", b"for the other")
MADE = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
PARTS = (
    Part(Kind.LIBRARY, "Dial", "1.0", "Ada", "https://github.com/ada/dial", "MIT OR Apache-2.0", tree="ab" * 32),
    Part(Kind.LIBRARY, "Dial", "2.0", licence="As you like"),
    Part(Kind.FRAMEWORK, "framework-espidf", "3.50301.0", "platformio", upstream="5.3.1"),
    Part(Kind.LIBRARY, "<script>\u2028", ""),
)


def make(digest: str = "cd" * 32, version: str = "1.0") -> bytes:
    files = {"firmware.bin.signed": digest, "firmware.bin.gz.signed": "ef" * 32}
    return written(Product("blink", version, files, {"board": "d1"}), PARTS, {"otaseal": "1", "platformio": "6"}, MADE)


def valid(data: bytes) -> bool:
    return bom_schema.find_fault(data) is None


def test_the_same_build_makes_the_same_bytes_and_another_one_another_serial_number() -> None:
    first, again, other = make(), make(), make("12" * 32)
    assert first == again
    assert valid(first)
    assert json.loads(first)["serialNumber"] != json.loads(other)["serialNumber"]
    assert valid(make(version=""))
    references = [part["bom-ref"] for part in json.loads(first)["components"]]
    assert len(set(references)) == len(references) == 4
    lines = document.lines(document.parse(first))
    assert lines[0].startswith("blink 1.0: urn:uuid:")
    assert "library    Dial 1.0  MIT OR Apache-2.0" in lines
    assert "library    Dial 2.0  As you like" in lines
    assert "framework  framework-espidf 3.50301.0  unknown" in lines


ODD = st.text('/:@?#%[]\\ a1é{}|^`"<>\ud800', max_size=10)
SAID = st.one_of(ODD, ODD.map("https://".__add__), ODD.map("https://x.example/".__add__))
MANIFESTS = st.fixed_dictionaries(
    dict.fromkeys(("name", "version", "license", "repository", "authors"), SAID)  # what libraries have of them is text
)


@given(MANIFESTS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_library_says_the_document_is_valid(tmp_path: Path, said: dict[str, str]) -> None:
    (tmp_path / "library.json").write_text(json.dumps(said))
    part = read_part(Kind.LIBRARY, tmp_path, {})
    assert valid(written(Product("blink", "1.0", {"firmware.bin": "ab" * 32}), [part], {"otaseal": "1"}, MADE)), said


def test_the_boards_of_a_release_are_one_document() -> None:
    digests = [hashlib.sha256(signed).hexdigest() for signed in SIGNED]
    found = {name: document.parse(make(digest)) for name, digest in zip(("d1", "pico"), digests, strict=True)}
    data = document.merged("blink", "1.0", found)
    assert valid(data)
    assert data == document.merged("blink", "1.0", found)
    one = document.parse(data)
    assert [part["name"] for part in one["components"]] == ["d1", "pico"]
    document.require(data, SIGNED)
    with pytest.raises(InputError, match="that of another firmware"):
        document.require(data, [*SIGNED, b"other"])
    shown = document.lines(one)
    assert shown.count("library    Dial 1.0  MIT OR Apache-2.0") == 2
    assert "board pico" in shown
    named = {entry["ref"] for entry in one["dependencies"]}
    assert {"d1/firmware:blink", "pico/library:Dial#2"} <= named


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"bomFormat": "SPDX"}',
        b'{"bomFormat": "CycloneDX", "metadata": []}',
        b"[" * 100000,
        b'{"bomFormat": "CycloneDX", "metadata": {"component": {}}, "components": [1]}',
    ],
)
def test_what_is_no_sbom(data: bytes) -> None:
    with pytest.raises(InputError):
        document.parse(data)
