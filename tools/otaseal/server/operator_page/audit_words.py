"""What lines of the audit log say, in words; one of a later version is shown by its own name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import OtasealError, counted
from ...release.plan_fields import parse_waves
from ..operator_api.audit_page import SEEN

WORDS: Mapping[str, str] = {
    "accept": "accepted the key of",
    "approve": "approved of the next wave of {version} in {channel}",
    "certify": "gave a certificate to",
    "certs": "gave new certificates to devices of {channel}",
    "consent": "agreed to what {version} does in {channel}",
    "distrust": "no longer takes tokens of",
    "enrol": "enrolled the key of",
    "forget": "forgot",
    "grant": "gave {version} at once to",
    "halt": "halted {version} in {channel}",
    "halted": "halted {version} in {channel}: too many failed",
    "import": "imported names and tags",
    "key": "added a public key",
    "label": "labelled",
    "notes": "said what {version} is for",
    "pause": "paused {version} in {channel}",
    "point": "pointed {channel} at {version}",
    "proof": "changed whether devices have to prove their names",
    "prune": "deleted {version}",
    "publish": "published {version}",
    "resume": "let {version} go on in {channel}",
    "retry": "let try again",
    "rollback": "rolled {channel} back to {version}",
    SEEN: "saw {count} for the first time on {day}",
    "set-aside": "set failures of {version} in {channel} aside",
    "support": "said until when the product is supported",
    "tag-rule": "changed a rule for tags",
    "trust": "takes tokens of",
    "wave": "began the next wave of {version} in {channel}",
}
PINS: Mapping[object, str] = {True: "pinned", False: "unpinned"}
"""What a line that labels a device says, where it is about that."""
HIDDEN = ("generation", "record", "certs_generation", "archive")
"""Details that tell people nothing."""


def in_words(row: Mapping[str, Any]) -> str:
    """Return what somebody did, as `audit_page` has its rows."""
    words = PINS.get(row["details"].get("pinned")) if row["event"] == "label" else None
    words = words or WORDS.get(row["event"])
    if words is None:
        return str(row["event"])
    count, day = counted(row["count"], "device"), row["at"][:10]
    return words.format(version=row["version"], channel=row["channel"], count=count, day=day)


def details(row: Mapping[str, Any]) -> str:
    """Return what else the line says, in a few words."""
    said = {name: value for name, value in row["details"].items() if name not in HIDDEN}
    if said.get("percent") == 100:
        del said["percent"]
    if said.get("halted") is False:
        del said["halted"]
    if row["event"] == "label":
        said.pop("pinned", None)
    if "wave" in said and "waves" in said:
        said["wave"] = f"{said['wave']} of {said.pop('waves')}"
    if "plan" in said:
        said["plan"] = _plan(said["plan"])
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in said.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return " to ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _plan(waves: object) -> str:
    """Return whom the waves of a plan mean, one after the other."""
    try:
        return "; ".join(wave.who for wave in parse_waves(waves))
    except OtasealError:  # of a later version
        return _shown(waves)
