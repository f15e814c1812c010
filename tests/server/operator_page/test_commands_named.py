"""Commands that the page names are commands that there are: the command line takes each of them as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from otaseal.cli import parser
from otaseal.server import operator_page

FOLDER = Path(operator_page.__file__).parent
NAMED = re.compile(r"(?:<code>|\")(otaseal [a-z][^<\"]*)(?:</code>|\")(?: ~ (\w))?")


def named() -> list[tuple[str, str]]:
    """Return each command with the file that names it; a value that is put in is a word."""
    found = []
    for path in sorted((*FOLDER.rglob("*.html"), *FOLDER.rglob("*.py"))):
        for command, value in NAMED.findall(path.read_text(encoding="utf-8")):
            if command.endswith("…"):  # and what else it takes, by --help
                continue
            found.append((path.name, re.sub(r"\{\{.*?\}\}", "word", command) + ("word" if value else "")))
    return found


@pytest.mark.parametrize(("file", "command"), named(), ids=lambda one: str(one))
def test_the_command_line_takes_it(file: str, command: str) -> None:
    _, *words = shlex.split(command)
    assert parser(words[0]).parse_args(words), file


def test_they_are_found() -> None:
    assert {"overview.html", "access.html", "sign_in.html", "certificates.py"} <= {file for file, _ in named()}
