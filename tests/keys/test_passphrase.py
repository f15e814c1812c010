"""Where a passphrase comes from: file, then variable, then a real terminal; and what is never taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otaseal.errors import ConfigError, InputError
from otaseal.keys import passphrase
from support.terminal import Terminal

ASK = """
import os, sys
from pathlib import Path
from otaseal import errors
from otaseal.keys import passphrase
try:
    if sys.argv[1] != "old":
        secret = passphrase.ask_new("'a key'", None, os.environ, optional=sys.argv[1] == "new")
    else:
        secret = passphrase.from_settings(None, Path(), os.environ)("'a key'")
    print("got", secret.hex())
except errors.OtasealError as error:
    print("refused", error.message)
"""


def ask(kind: str, *answers: str) -> str:
    """Return what a program on a terminal of its own says after a person has typed `answers`."""
    with Terminal([sys.executable, "-c", ASK, kind]) as terminal:
        for answer in answers:
            terminal.expect(": ")
            terminal.type(answer)
        return terminal.rest()


def test_a_file_beats_the_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"from the file\nanother line\n")
    environment = {passphrase.VARIABLE: "from the variable"}
    assert passphrase.from_settings("secret", tmp_path, environment)("it") == b"from the file"
    assert passphrase.from_settings(None, tmp_path, environment)("it") == b"from the variable"
    assert passphrase.ask_new("it", str(tmp_path / "secret"), environment) == b"from the file"
    assert passphrase.ask_new("it", None, environment) == b"from the variable"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b" two words \n", b" two words "),
        ("gehe\u00edm\n".encode(), "gehe\u00edm".encode()),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ],
)
def test_a_file_gives_its_first_line_to_the_byte(tmp_path: Path, content: bytes, secret: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert passphrase.read_file(tmp_path / "secret") == secret


@pytest.mark.parametrize("content", [b"", b"\n", b"\nsecret\n", b"a" * 1024, b"a" * 5000, b"a\n" * 5000])
def test_a_file_that_gives_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(InputError):
        passphrase.read_file(tmp_path / "secret")


def test_a_missing_file_is_refused_even_where_a_variable_is_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="passphrase file"):
        passphrase.from_settings("none", tmp_path, {passphrase.VARIABLE: "x"})("it")


def test_a_pipe_gives_a_passphrase(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret\n")
    os.close(writing)
    try:
        assert passphrase.from_settings(f"/dev/fd/{reading}", tmp_path, {})("it") == b"secret"
    finally:
        os.close(reading)


def test_a_variable_that_is_no_text_is_taken_byte_by_byte(tmp_path: Path) -> None:
    environment = {passphrase.VARIABLE: b"caf\xe9".decode(errors="surrogateescape")}
    assert passphrase.from_settings(None, tmp_path, environment)("it") == b"caf\xe9"


def test_more_than_a_key_takes_is_refused_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        passphrase.from_settings(None, tmp_path, {passphrase.VARIABLE: "s" * 1024})("it")
    assert "sss" not in str(caught.value) + caught.value.hint
    assert len(passphrase.from_settings(None, tmp_path, {passphrase.VARIABLE: "s" * 1023})("it")) == 1023


@pytest.mark.parametrize("kind", ["new", "old"])
@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_terminal_nothing_is_waited_for(kind: str, variable: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != passphrase.VARIABLE}
    if variable is not None:
        environment[passphrase.VARIABLE] = variable
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", ASK, kind]
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith(b"refused ")
    assert b"'a key'" in done.stdout
    assert b"no terminal" in done.stdout


def test_a_terminal_is_asked_once_for_a_key_and_does_not_echo() -> None:
    said = ask("old", "geheim")
    assert f"got {b'geheim'.hex()}" in said
    assert "geheim" not in said


def test_a_terminal_is_asked_twice_for_a_new_key() -> None:
    said = ask("new", "geheim", "geheim")
    assert f"got {b'geheim'.hex()}" in said
    assert "geheim" not in said


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (("geheim", "gehein") * 3, "refused the two passphrases differ"),
        (("", "x") * 3, "refused the two passphrases differ"),
        (("", ""), "got \r\n"),
        (("geheim", "gehein", "geheim", "geheim"), "The two differ.\r\nNew passphrase for 'a key' (empty for none): "),
        (("x", "y", "x", "z", "geheim", "geheim"), f"got {b'geheim'.hex()}"),
        (("s" * 1024,), "refused a passphrase of 1024 bytes"),
    ],
)
def test_what_is_typed_for_a_new_key(answers: tuple[str, ...], outcome: str) -> None:
    assert outcome in ask("new", *answers)


def test_where_a_passphrase_is_needed_an_empty_one_is_not_offered() -> None:
    answered = ask("needed", "geheim", "geheim")
    assert "New passphrase for 'a key': " in answered
    assert f"got {b'geheim'.hex()}" in answered
    assert "refused an empty passphrase locks nothing" in ask("needed", "")


def test_an_end_of_file_at_the_prompt_is_no_passphrase() -> None:
    with Terminal([sys.executable, "-c", ASK, "old"]) as terminal:
        terminal.expect(": ")
        terminal.send(b"\x04")
        assert "refused no passphrase could be read" in terminal.rest()


def test_a_relative_file_starts_at_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "secret").write_bytes(b"right\n")
    (tmp_path / "secret").write_bytes(b"wrong\n")
    monkeypatch.chdir(tmp_path)
    assert passphrase.from_settings("secret", tmp_path / "project", {})("it") == b"right"


def test_an_unknown_home_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown user"):
        passphrase.from_settings("~nobody-of-that-name/s", tmp_path, {})("it")
