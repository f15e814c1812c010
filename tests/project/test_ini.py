"""platformio.ini edited: PlatformIO itself reads what was meant, and nothing that was there is touched."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.project import ini
from otaseal.project.ini import ProjectIni, lines_to_add

SCRIPTS = ["pre:otaseal/extra_scripts/verify_updates.py", "post:otaseal/extra_scripts/ship.py"]
OPTIONS = {"board_build.filesystem": "littlefs", "custom_otaseal_signing_key": "file:~/.config/my keys/signing.key"}
HEAD = "[env:nodemcuv2]\nplatform = espressif8266\nboard = nodemcuv2 ; mine\nframework = arduino\n"


def platformio_reads(text: str, folder: Path, environment: str, option: str) -> object:
    """What PlatformIO's own reader finds."""
    from platformio.project.config import ProjectConfig

    path = folder / "read.ini"
    path.write_bytes(text.encode())
    return ProjectConfig(str(path)).get(f"env:{environment}", option, None)


def parse(data: bytes) -> ProjectIni:
    return ini.parse(data, Path(), {})


def edit(text: str, environment: str = "nodemcuv2") -> ProjectIni:
    return parse(text.encode()).with_lines(environment, SCRIPTS, OPTIONS)


def assert_only_added(old: str, new: str) -> None:
    """Every character of the old file is in the new one, in its order."""
    rest = iter(new)
    assert all(character in rest for character in old)


INHERITED = "[env]\nextra_scripts = a.py, b.py\n"
CASES = {
    "nothing": (HEAD, []),
    "no newline at the end": (HEAD.rstrip(), []),
    "Windows": (HEAD.replace("\n", "\r\n"), []),
    "another section behind": (HEAD + "\n; about tests\n[env:native]\nplatform = native\n", []),
    "a comment in the last value": (HEAD + "build_flags =\n  -D A\n  ; -D B\n\n[platformio]\n", []),
    "one script": (HEAD + "extra_scripts = a.py ; mine\nmonitor_speed = 9600\n", ["a.py"]),
    "an empty list": (HEAD + "extra_scripts =\nmonitor_speed = 9600\n", []),
    "with commas": (HEAD + "extra_scripts = a.py, b.py ; mine\nmonitor_speed = 9600\n", ["a.py", "b.py"]),
    "with commas, at the end": (HEAD + "extra_scripts = a.py, b.py", ["a.py", "b.py"]),
    "a list": (HEAD + "extra_scripts =\n    ; first\n    a.py\n\n    b.py\nmonitor_speed = 9600\n", ["a.py", "b.py"]),
    "a list with tabs": (HEAD + "extra_scripts:\n\ta.py\n\tb.py\n", ["a.py", "b.py"]),
    "inherited from all": (INHERITED + HEAD, ["a.py", "b.py"]),
    "inherited by extends": (
        "[common]\nextra_scripts =\n  a.py\n  b.py\n" + HEAD + "extends = common\n",
        ["a.py", "b.py"],
    ),
    "by reference": (
        "[common]\nscripts =\n  a.py\n  b.py\n" + HEAD + "extra_scripts = ${common.scripts}\n",
        ["a.py", "b.py"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_platformio_reads_what_was_meant(name: str, tmp_path: Path) -> None:
    text, before = CASES[name]
    edited = edit(text)
    assert_only_added(text, edited.text)
    assert platformio_reads(edited.text, tmp_path, "nodemcuv2", "extra_scripts") == [*before, *SCRIPTS]
    for option, value in OPTIONS.items():
        assert platformio_reads(edited.text, tmp_path, "nodemcuv2", option) == value
    assert platformio_reads(edited.text, tmp_path, "nodemcuv2", "board") == "nodemcuv2"
    assert ("\r\n" in text) == ("\r\n" in edited.text)
    assert edited.with_lines("nodemcuv2", SCRIPTS, OPTIONS) is edited


@pytest.mark.parametrize(
    "there",
    [
        "extra_scripts =\n  pre:vendor/otaseal/extra_scripts/verify_updates.py\n  lib/otaseal/extra_scripts/ship.py\n",
        "extra_scripts = pre:$PROJECT_LIBDEPS_DIR/$PIOENV/otaseal/extra_scripts/verify_updates.py, "
        "post:a\\extra_scripts\\ship.py\n",
    ],
)
def test_what_is_set_stays(there: str) -> None:
    text = HEAD + there + "board_build.filesystem = spiffs\ncustom_otaseal_signing_key = env:KEY\n"
    assert edit(text).text == text


def test_scripts_of_that_name_elsewhere_are_not_ours() -> None:
    found = edit(HEAD + "extra_scripts = scripts/ship.py\n")
    assert found.missing_scripts("nodemcuv2", SCRIPTS) == []
    assert "scripts/ship.py\n  pre:" in found.text
    assert found.text.count("ship.py") == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "[platformio]\nextra_configs = more.ini\n", "extra_configs"),
        (HEAD.replace("nodemcuv2]", "other]"), "no section [env:nodemcuv2]"),
        ("[common]\nextra_scripts = a.py, b.py\n" + HEAD + "extends = common\n", "would not say what was meant"),
    ],
)
def test_what_cannot_be_done_safely_is_left_to_a_person(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        edit(text)
    assert reason in caught.value.message
    assert caught.value.message.startswith("platformio.ini cannot be edited safely")


@pytest.mark.parametrize(
    "value", ["file:/a/100%/key", "file:/a/$b/key", "file:/a/${b.c}", "file:/a ;b/key", "file:/a #b"]
)
def test_a_value_that_platformio_would_read_otherwise_is_not_written(value: str) -> None:
    with pytest.raises(InputError, match="safely"):
        parse(HEAD.encode()).with_lines("nodemcuv2", [], {"custom_otaseal_signing_key": value})


@pytest.mark.parametrize(
    "data", [b"\xff", b"board = a\n", HEAD.encode() * 2, b"[env:a]\nboard = a\nboard = b\n", b"[a]\nb\n"]
)
def test_a_file_that_platformio_cannot_read_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"platformio\.ini cannot be read"):
        parse(data)


def test_lines_for_a_person_read_as_they_are_meant(tmp_path: Path) -> None:
    text = HEAD + "\n".join(lines_to_add(SCRIPTS, OPTIONS)) + "\n"
    assert platformio_reads(text, tmp_path, "nodemcuv2", "extra_scripts") == SCRIPTS
    assert edit(text).text == text


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "[env:nodemcuv2]",
                "[env]",
                "[common]",
                "[env:b]",
                "board = a",
                "  -D x",
                "\tpost:c.py",
                "; note",
                "  # note",
            ),
            *(
                "extra_scripts = a.py",
                "extra_scripts =",
                "  extra_scripts = d.py, e.py",
                "extends = common",
                "",
                "x: y ; z",
            ),
            *("extra_scripts = ${common.extra_scripts}", "board_build.filesystem =", "Extra_Scripts = q.py", "k"),
        ]
    ),
    max_size=14,
)


@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=300)
def test_any_file_is_edited_right_or_not_at_all(lines: list[str], end: str, ends: bool) -> None:
    text = end.join(lines) + (end if ends else "")
    try:
        edited = edit(text)
    except InputError:
        return
    assert_only_added(text, edited.text)
    before, after = (configparser.RawConfigParser(inline_comment_prefixes=("#", ";")) for _ in range(2))
    before.read_string(text)
    after.read_string(edited.text)
    for section in before.sections():
        for option, value in before.items(section):
            assert option == "extra_scripts" or after.get(section, option).strip() in (value.strip(), "littlefs")
    assert not edited.missing_scripts("nodemcuv2", SCRIPTS)
    assert not edited.missing_options("nodemcuv2", OPTIONS)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_project_or_refused(data: bytes) -> None:
    try:
        found = parse(data)
    except InputError:
        return
    assert found.text.encode() == data


def test_what_a_variable_adds_today_is_not_in_the_file() -> None:
    variables = {"PLATFORMIO_EXTRA_SCRIPTS": SCRIPTS[0], "KEY": "file:/a/key"}
    text = HEAD + "custom_otaseal_signing_key = ${sysenv.KEY}\n"
    found = ini.parse(text.encode(), Path(), variables)
    assert found.missing_scripts("nodemcuv2", SCRIPTS) == SCRIPTS
    assert found.get("nodemcuv2", "custom_otaseal_signing_key") == "file:/a/key"
