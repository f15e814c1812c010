"""What lines of the audit log say, in words; one of a later version is shown by its own name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS: Mapping[str, str] = {
    "accept": "accepted the key of",
    "approve": "approved of the next wave of {version} in {channel}",
    "certify": "gave a certificate to",
    "certs": "gave new certificates to devices of {channel}",
    "consent": "agreed to what {version} does in {channel}",
    "enrol": "enrolled the key of",
    "forget": "forgot",
    "grant": "gave {version} at once to",
    "halt": "halted {version} in {channel}",
    "import": "imported names and tags",
    "key": "added a public key",
    "label": "said something of",
    "notes": "said what {version} is for",
    "pause": "paused {version} in {channel}",
    "point": "pointed {channel} at {version}",
    "proof": "changed whether devices have to prove their names",
    "prune": "deleted {version}",
    "publish": "published {version}",
    "resume": "let {version} go on in {channel}",
    "retry": "let try again",
    "rollback": "rolled {channel} back to {version}",
    "set-aside": "set failures of {version} in {channel} aside",
    "wave": "began the next wave of {version} in {channel}",
}
HIDDEN = ("generation", "record", "certs_generation", "archive")
"""Details that tell people nothing."""


def in_words(row: Mapping[str, Any]) -> str:
    """Return what somebody did, as `audit_page` has its rows."""
    words = WORDS.get(row["event"])
    return row["event"] if words is None else words.format(version=row["version"], channel=row["channel"])


def details(row: Mapping[str, Any]) -> str:
    """Return what else the line says, in a few words."""
    said = {name: value for name, value in row["details"].items() if name not in HIDDEN}
    if said.get("percent") == 100:
        del said["percent"]
    if said.get("halted") is False:
        del said["halted"]
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in said.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)
