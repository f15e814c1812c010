"""What commands show on a terminal of 80 columns: lines that fit, words and paths whole, plurals, a second try."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from otaseal import terminal
from otaseal.errors import counted
from support import cas
from support.command import process
from support.images import build_image
from support.terminal import Terminal

WIDTH = 80


def shown(folder: Path, *arguments: str) -> list[str]:
    """Return the lines that a command shows on a terminal of WIDTH columns."""
    code = (
        f"import fcntl, os, struct, termios; os.chdir({str(folder)!r})\n"
        f"fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, {WIDTH}, 0, 0))\n"
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from otaseal.cli import main; sys.exit(main())"
    )
    with Terminal([sys.executable, "-c", code], {"COLUMNS": ""}) as opened:
        return opened.rest().replace("\r\n", "\n").splitlines()


def too_long(lines: Sequence[str]) -> list[str]:
    """Return the lines that are longer than they have to be: not a command to copy, and not one word."""
    found = []
    for line in lines:
        plain = terminal.COLOUR.sub("", line)
        whole = terminal.COMMAND.search(plain) or plain.startswith(("+", "-"))  # a diff's lines are its file's
        if len(plain) > WIDTH and not whole and len(plain.split()) > terminal.FEW:
            found.append(plain)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a long name, a project, a key, a firmware and a CA with a long name."""
    folder = tmp_path_factory.mktemp("a folder whose name is as long as people make them")
    (folder / "platformio.ini").write_text("[env:d1_mini]\nplatform = espressif8266\nboard = d1_mini\n")
    (folder / "firmware.bin").write_bytes(build_image(seed=1))
    (folder / "ca.pem").write_bytes(cas.pem(cas.root("Workshop of Blinking Things and Other Things, Root CA 1")))
    (folder / "text.bin").write_bytes(b"no firmware at all")
    process("key", "new", "signing.key", "--no-passphrase", cwd=folder).succeeded()
    process("sign", "firmware.bin", "--key", "signing.key", cwd=folder).succeeded()
    process("certs", "pack", "ca.pem", "-o", "certs.ar", cwd=folder).succeeded()
    return folder


FAILING = ("sign", "firmware.bin", "--key", "a-key-that-is-not-there-and-has-a-name-as-long-as-people-make-them.key")
COMMANDS = [
    ("inspect", "firmware.bin.signed", "--key", "signing.pub"),
    ("inspect", "text.bin"),
    ("verify", "firmware.bin.signed", "--key", "signing.pub"),
    ("verify", "firmware.bin", "--key", "signing.pub"),
    ("sign", "text.bin", "--key", "signing.key"),
    ("sign", "firmware.bin", "--key", "nowhere.key"),
    ("certs", "list", "certs.ar"),
    ("certs", "check", "certs.ar"),
    ("certs", "pack", "*.crt"),
    ("key", "show", "signing.key"),
    ("config",),
    ("doctor",),
    ("init", "--product", "blink", "--dry-run", "--no-passphrase", "--server-name", "a", "--operator", "b"),
    ("pki", "list"),
    ("deploy", "firmware.bin.signed", "--server", "https://localhost:1", "--product", "blink"),
    ("deploy", "firmware.bin.signed", "--percent", "101"),
    ("rehearse", "firmware.bin.signed", "--offline"),
    *[
        (*command, "--help")
        for command in ((), ("deploy",), ("serve",), ("rehearse",), ("pki", "server"), ("devices",))
    ],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_lines_fit_on_a_terminal_of_80_columns(place: Path, command: tuple[str, ...]) -> None:
    lines = shown(place, *command)
    assert lines
    assert not too_long(lines)


def test_a_diff_is_shown_line_by_line(place: Path) -> None:
    lines = shown(place, "init", "--product", "blink", "--dry-run", "--no-passphrase", "--server-name", "a")
    long = [line for line in lines if line.startswith("+; otaseal is installed on this computer only")]
    assert len(long) == 1
    assert long[0].endswith("and change the paths")
    assert len(long[0]) > WIDTH


def test_a_file_gets_each_line_whole(place: Path) -> None:
    told = process(*FAILING, cwd=place)
    assert len(told.err.splitlines()) == 2
    assert max(map(len, told.err.splitlines())) > WIDTH


def test_json_on_a_terminal_is_json(place: Path) -> None:
    lines = shown(place, *FAILING, "--json")
    assert len(lines) == 1
    assert len(lines[0]) > WIDTH


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short", "short"),
        ("one two three four", "one two\n  three four"),
        ("  one two three", "  one two\n    three"),
        ("name  value more", "name  value\n      more"),
        ("locked /a/path/that/is/long", "locked /a/path/that/is/long"),
        ("A=b /usr/bin/python3 -m otaseal serve", "A=b /usr/bin/python3 -m otaseal serve"),
        ("otaseal deploy firmware.bin.signed", "otaseal deploy firmware.bin.signed"),
        ("otaseal: hint: otaseal init sets it", "otaseal: hint: otaseal init sets it"),
        ("  -> otaseal key lock /a/b.key", "  -> otaseal key lock /a/b.key"),
        ("next: key: otaseal key lock a.key", "next: key:\n  otaseal key lock a.key"),
        ("otaseal sets it, otaseal shows it", "otaseal sets\n  it,\n  otaseal\n  shows it"),
        ("see /a/long/path/that/stays/whole now", "see\n  /a/long/path/that/stays/whole\n  now"),
        ("\x1b[32mok\x1b[0m and more words", "\x1b[32mok\x1b[0m and more\n  words"),
        ("a b  c d  e f  g h", "a b  c d\n     e f\n     g h"),
        ("a b  c d e f g h i  j", "a b  c d e f\n     g h i\n     j"),
        ("", ""),
    ],
)
def test_where_a_line_breaks(line: str, expected: str) -> None:
    assert terminal.fit(line, 12) == expected


def test_what_follows_a_break_stands_in_the_last_column() -> None:
    line = "  ok      filesystem         LittleFS of 1024000 bytes at 0x300000, blocks of 8192"
    assert terminal.fit(line, 80) == f"{line.removesuffix(' 8192')}\n{'':<29}8192"


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(0, "byte", "0 bytes"), (1, "byte", "1 byte"), (2, "byte", "2 bytes"), (1, "entry", "1 entry")],
)
def test_a_number_has_its_plural(number: int, noun: str, expected: str) -> None:
    assert counted(number, noun) == expected
    assert counted(2, "entry", "entries") == "2 entries"


def test_no_message_has_a_plural_in_brackets() -> None:
    tools = Path(terminal.__file__).parent
    assert not [path for path in tools.rglob("*.py") if "(s) " in path.read_text() or '(s)"' in path.read_text()]
