"""The lock as a file, and what differs from it, in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from otaseal.errors import ConfigError, InputError
from otaseal.sbom.lock import Locked, differences, entries_of, read, refuse, write
from otaseal.sbom.parts import Kind, Part

ONE, TWO = "11" * 32, "22" * 32
LOCKED = {
    ("platform", "espressif8266"): Locked("4.2.1", ONE),
    ("library", "Dial"): Locked("2.3.4", ONE),
    ("tool", "tool-mklittlefs"): Locked("1.203.0", ONE),
}


def test_environments_are_kept_apart_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "otaseal.lock"
    write(path, "pico", LOCKED)
    write(path, "d1", {})
    assert read(path, "pico") == LOCKED
    assert read(path, "d1") == {}
    assert list(json.loads(path.read_text())["environments"]) == ["d1", "pico"]
    before = path.stat()
    write(path, "pico", dict(reversed(LOCKED.items())))
    assert path.stat().st_mtime_ns == before.st_mtime_ns, "nothing has changed"
    with pytest.raises(ConfigError, match="has nothing for the environment 'esp32'"):
        read(path, "esp32")
    with pytest.raises(ConfigError, match=r"there is no 'other\.lock'"):
        read(path.with_name("other.lock"), "d1")


def test_each_difference_is_named() -> None:
    now = {
        ("platform", "espressif8266"): Locked("4.3.0", ONE),
        ("library", "Dial"): Locked("2.3.4", TWO),
        ("library", "Knob"): Locked("", ONE),
        ("tool", "tool-new"): Locked("1", ONE),
    }
    assert differences(LOCKED, now) == [
        "library 'Dial' 2.3.4 has other files (222222222222, not 111111111111)",
        "library 'Knob' of no version is not locked",
        "platform 'espressif8266' is 4.3.0, not 4.2.1",
    ], "what is locked and not used in this run is no difference, nor a tool for another target"
    with pytest.raises(InputError, match=r"library 'Dial' .*; library 'Knob' .*; platform"):
        refuse(LOCKED, now, "d1")
    refuse(LOCKED, LOCKED, "d1")
    changed = {**LOCKED, ("tool", "tool-mklittlefs"): Locked("1.203.0", TWO)}
    assert differences(LOCKED, changed), "a tool that is locked is compared"


def test_of_two_libraries_of_one_name_neither_may_change() -> None:
    one, other = (Part(Kind.LIBRARY, "Dial", version, tree=ONE) for version in ("1.0", "2.0"))
    locked = entries_of([one, other])
    assert locked == entries_of([other, one])
    assert locked["library", "Dial"].version == "1.0, 2.0"
    assert differences(locked, entries_of([replace(one, tree=TWO), other]))
    assert differences(locked, entries_of([one, replace(other, tree=TWO)]))
    assert differences(locked, entries_of([one])) == ["library 'Dial' is 1.0, not 1.0, 2.0"]


@pytest.mark.parametrize(
    "environments",
    [
        "[]",
        '{"d1": 1}',
        '{"d1": [1]}',
        '{"d1": [{}]}',
        '{"d1": [{"kind": "x", "name": "", "version": "", "sha256": ""}]}',
        '{"d1": [{"kind": "library", "name": 1, "version": "", "sha256": ""}]}',
        "[" * 100000,
    ],
)
def test_a_damaged_lock_is_refused_and_not_replaced(tmp_path: Path, environments: str) -> None:
    path = tmp_path / "otaseal.lock"
    path.write_text(f'{{"format": 1, "environments": {environments}}}')
    before = path.read_bytes()
    for use in (lambda: read(path, "d1"), lambda: write(path, "d1", LOCKED)):
        with pytest.raises(InputError, match="is damaged"):
            use()
    assert path.read_bytes() == before
