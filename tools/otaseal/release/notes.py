"""What a release is for, in words for people: its notes, and whether it is a feature, a fix, or one for security.

Pure, and beside the release's record, which never changes: notes may be written later.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import InputError

SEVERITIES = ("feature", "fix", "security")
MAX_NOTES = 4000
"""Characters."""


class Notes(NamedTuple):
    """What is said of one release; `severity` is one of SEVERITIES, or "" where nothing is said."""

    severity: str = ""
    notes: str = ""


NO_NOTES = Notes()


def checked(notes: Notes) -> Notes:
    """Return notes as they are kept, without blanks around; raises InputError for what cannot be said."""
    text = notes.notes.replace("\r\n", "\n").strip()
    if notes.severity not in ("", *SEVERITIES):
        raise InputError(f"the severity '{notes.severity[:32]}' is unknown", f"say one of {', '.join(SEVERITIES)}")
    if len(text) > MAX_NOTES:
        raise InputError(f"the notes have {len(text)} characters", f"{MAX_NOTES} are the most: link to the rest")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise InputError("the notes have control characters in them", "write plain text in UTF-8")
    return Notes(notes.severity, text)
