"""What a release is for, in words for people: its notes, whether it is a feature, a fix, or one for security, of what.

Pure, and beside the release's record, which never changes: notes may be written later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import InputError

SEVERITIES = ("feature", "fix", "security")
MAX_NOTES = 4000
"""Characters of the notes, and of the advisory."""
MAX_CVES = 32
MAX_SHOWN = 200
"""Bytes of the notes that devices are told, in UTF-8: their first line is what a display has room for."""
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")


class Notes(NamedTuple):
    """What is said of one release; `severity` is one of SEVERITIES, or "" where nothing is said.

    `cves` are the numbers of what it closes, separated by blanks; `advisory` says what that is, and who is affected.
    """

    severity: str = ""
    notes: str = ""
    cves: str = ""
    advisory: str = ""


NO_NOTES = Notes()


def device_headers(notes: Notes) -> tuple[tuple[str, str], ...]:
    """Return what devices are told of a release: its severity, and the beginning of its notes in UTF-8, on one line.

    Header values are written as Latin-1, one character for each byte.
    """
    text = " ".join(notes.notes.split()).encode()[:MAX_SHOWN].decode(errors="ignore")
    said = (("X-Otaseal-Severity", notes.severity), ("X-Otaseal-Notes", text.encode().decode("latin-1")))
    return tuple((name, value) for name, value in said if value)


def from_json(said: Mapping[str, str]) -> Notes:
    """Return notes out of JSON; what an older otaseal does not say is empty."""
    return Notes(**{name: said[name] for name in Notes._fields if name in said})


def lines(head: str, notes: Notes) -> list[str]:
    """Return for a terminal what is said of a release, below and beside the line that begins with `head`."""
    severity = f"  [{notes.severity}]" if notes.severity else ""
    closes = [f"  closes {notes.cves}"] if notes.cves else []
    return [f"{head}{severity}", *closes, *(f"  | {line}" for line in notes.notes.splitlines())]


def checked(notes: Notes) -> Notes:
    """Return notes as they are kept, without blanks around; raises InputError for what cannot be said."""
    if notes.severity not in ("", *SEVERITIES):
        raise InputError(f"the severity '{notes.severity[:32]}' is unknown", f"say one of {', '.join(SEVERITIES)}")
    texts = {"notes": _checked_text("the notes have", notes.notes), "cves": _checked_cves(notes.cves)}
    return Notes(notes.severity, **texts, advisory=_checked_text("the advisory has", notes.advisory))


def _checked_text(what: str, written: str) -> str:
    text = written.replace("\r\n", "\n").strip()
    if len(text) > MAX_NOTES:
        raise InputError(f"{what} {len(text)} characters", f"{MAX_NOTES} are the most: link to the rest")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise InputError(f"{what} control characters in them", "write plain text in UTF-8")
    return text


def _checked_cves(written: str) -> str:
    cves = sorted({word.upper() for word in re.split(r"[\s,]+", written) if word})
    for cve in cves:
        if not _CVE.fullmatch(cve):
            raise InputError(f"'{cve[:40]}' is no CVE number", "write them as CVE-2026-12345, separated by blanks")
    if len(cves) > MAX_CVES:
        raise InputError(f"{len(cves)} CVE numbers are named", f"{MAX_CVES} are the most: link to the rest")
    return " ".join(cves)
