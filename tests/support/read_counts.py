"""How often each part of a firmware file is read: counters around the real functions, by the bytes that they are given.

Run as a script, `read_counts.py FILE COMMAND...`, it runs the command of otaseal and writes into FILE what it counted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from otaseal.chips import esp8266
from otaseal.image import gzip_payload, manifest, signed_image, signing_header

READERS: dict[str, tuple[ModuleType, str]] = {
    "trailer": (signed_image, "parse"),
    "signature": (signed_image, "check_signature"),
    "gzip header": (gzip_payload, "parse"),
    "gzip content": (gzip_payload, "_inflate"),
    "image": (esp8266, "parse"),
    "manifest": (manifest, "find"),
    "identity": (manifest, "identity"),
    "embedded keys": (signing_header, "embedded_keys"),
}

Counts = Counter[tuple[str, str]]
"""By what is read, and the SHA-256 of the bytes it is read from."""


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what is read meanwhile; the virtual device has readers of its own."""
    counts: Counts = Counter()
    others = {what: getattr(module, name) for what, (module, name) in READERS.items()}
    for what, (module, name) in READERS.items():
        setattr(module, name, _counting(others[what], what, counts))
    try:
        yield counts
    finally:
        for what, (module, name) in READERS.items():
            setattr(module, name, others[what])


def twice(counts: Counts) -> list[str]:
    """Return what was read more than once from the same bytes."""
    return sorted(what for (what, _), count in counts.items() if count > 1)


def totals(counts: Counts) -> Counter[str]:
    """Return how often each was read."""
    found: Counter[str] = Counter()
    for (what, _), count in counts.items():
        found[what] += count
    return found


def _counting(read: Callable[..., Any], what: str, counts: Counts) -> Callable[..., Any]:
    def count(data: Any, *arguments: Any, **named: Any) -> Any:
        content = data.payload + data.signature if isinstance(data, signed_image.SignedImage) else bytes(data)
        counts[what, hashlib.sha256(content).hexdigest()] += 1
        return read(data, *arguments, **named)

    return count


if __name__ == "__main__":
    from otaseal.cli import main

    with counted() as found:
        code = main(sys.argv[sys.argv.index("otaseal") + 1 :])
    Path(sys.argv[1]).write_text(json.dumps([[*key, count] for key, count in found.items()]))
    sys.exit(code)
