"""Lines wrapped to the width of a terminal.

Only what goes to a terminal is wrapped: a file, a pipe or a log gets each line whole.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TextIO

COMMAND = re.compile(
    r"(?:^\s*|^otaseal: hint: |(?<=: )|-> )"
    r"(?:[A-Z_]+=\S+ )*(?:otaseal|pio|openssl|git|\"?[^\s\"]*python[^\s\"]*\"?) (?:(?!, |; ).)*$"
)
"""The end of a line that is there to be copied: a command, and no sentence that names one."""
COLUMNS = re.compile(r"((?:\S+(?: \S+)* {3,})*\S+(?: \S+)*  +)\S")
"""Names with a value in a column behind them, as far as spaces fill columns up."""
CELLS = re.compile(r"(?<=\S)  (?=\S)")
"""Between the parts of a line in which nothing is filled up."""
COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
MIN_WIDTH = 40
GLUE = "\0"
"""Holds the words of a command together: printed text has no such character."""
FEW = 2
"""Words of a line that is long because one of them is."""
MANY = 3
"""Parts of a line that is a list of them, and breaks between them."""


def fit(text: str, width: int) -> str:
    """Return `text` with lines of at most `width` columns, broken between words.

    What follows a break is indented as the value it belongs to. A word that is longer, such as a path, stays whole, and
    so does a command.
    """
    return "\n".join(_fit_line(line, width) for line in text.split("\n"))


def wrapped(stream: TextIO) -> TextIO:
    """Return a stream that wraps lines with `fit`; `stream` itself if it is not a terminal."""
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):  # no stream, or one that is closed
        return stream
    return _Wrapped(stream) if terminal else stream  # type: ignore[return-value]


class _Wrapped:
    """A text stream that wraps whole lines; prompts, progress bars and diffs go through as they are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        width = shutil.get_terminal_size().columns
        whole = "\r" in text or "\n+++ " in text or width < MIN_WIDTH
        self._stream.write(text if whole else fit(text, width))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _fit_line(line: str, width: int) -> str:
    plain = COLOUR.sub("", line)
    if len(plain) <= width or len(plain.split()) <= FEW:
        return line
    if command := COMMAND.search(plain):
        if not plain[: command.start()].strip():
            return line
        plain = plain[: command.start()] + command[0].replace(" ", GLUE)
    own = len(plain) - len(plain.lstrip())
    column = COLUMNS.match(plain, own)
    indent = column.end(1) if column and column.end(1) <= width // 2 else own + 2
    cells = CELLS.split(plain)
    if len(cells) >= MANY and "   " not in plain.lstrip():
        plain = "  ".join(cell.replace(" ", GLUE) if len(cell) <= width - indent else cell for cell in cells)
    lines = textwrap.wrap(
        plain,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    lines = [part.replace(GLUE, " ") for part in lines]
    return "\n".join([_coloured(lines[0], line), *lines[1:]])


def _coloured(start: str, line: str) -> str:
    """Return the first part of a wrapped line with the colours that `line` has there."""
    kept, left = "", start
    for piece in COLOUR.split(line):
        if COLOUR.fullmatch(piece):
            kept += piece
        else:
            kept, left = kept + left[: len(piece)], left[len(piece) :]
    return kept
