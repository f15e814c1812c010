"""Tables of Markdown, for the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator


def cell(text: object) -> str:
    """Return `text` for a cell of a table, to be read as it is."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """Return `text` as code in a cell."""
    return "`" + str(text).replace("|", "\\|") + "`"


def table(head: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table whose columns `head` names, none where it has no rows."""
    names = head.split(", ")
    body = ["| " + " | ".join(row) + " |" for row in rows]
    if body:
        yield from ("", f"| {' | '.join(names)} |", "|---" * len(names) + "|", *body, "")
