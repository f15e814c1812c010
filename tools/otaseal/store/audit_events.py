"""What the audit log says of pointers and releases: the lines that are written, and what the last of them say.

Pure but for reading lines that are handed in. A store is held against it by `check`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..release.archive_record import ArchiveRecord
from ..release.channels import Channel

__all__ = ["LastEvents", "archive_event", "contradiction", "last_said", "pointer_event", "publish_event"]

Event = dict[str, object]
Named = tuple[str, str]
"""A product, and the name of a channel or a version in it."""


@dataclass(frozen=True)
class LastEvents:
    """The last line about each thing that there is by the log: releases with None where their record is not named."""

    releases: dict[Named, str | None] = field(default_factory=dict)
    channels: dict[Named, Event] = field(default_factory=dict)
    archives: dict[Named, Event] = field(default_factory=dict)


def pointer_event(event: str, product: str, channel: str, after: Channel) -> Event:
    """Return the line's fields for a channel that now is `after`."""
    return {
        "event": event,
        "product": product,
        "channel": channel,
        "generation": after.generation,
        "version": after.pointer.version,
        "percent": after.pointer.percent,
        "halted": after.pointer.halted,
    }


def publish_event(product: str, version: str, record: bytes) -> Event:
    """Return the line's fields for a release with that record, whose SHA-256 the line keeps."""
    digest = hashlib.sha256(record).hexdigest()
    return {"event": "publish", "product": product, "version": version, "record": digest}


def archive_event(product: str, channel: str, after: ArchiveRecord) -> Event:
    """Return the line's fields for a channel that now gives out the archive `after`."""
    return {
        "event": "certs",
        "product": product,
        "channel": channel,
        "certs_generation": after.generation,
        "archive": after.archive,
        "certificates": after.certificates,
    }


def last_said(lines: Iterable[tuple[int, dict[str, Any] | None]]) -> LastEvents:
    """Return what the lines of `audit_log.lines` say last; damaged ones say nothing."""
    said = LastEvents()
    for _, line in lines:
        if line is None:
            continue
        product, event = str(line.get("product")), line.get("event")
        if event == "prune":
            said.releases.pop((product, str(line.get("version"))), None)
        elif event == "publish":
            said.releases[product, str(line.get("version"))] = line.get("record")
        elif "generation" in line:
            said.channels[product, str(line.get("channel"))] = line
        elif "certs_generation" in line:
            said.archives[product, str(line.get("channel"))] = line
    return said


def contradiction(said: Event | None, there: Event | None) -> str:
    """Return how a pointer that is `there` contradicts its last line, "" where it does not.

    Both are fields of one kind of line, None where there is none. A pointer that is a generation ahead was replaced by
    who was killed before the line: what no line acknowledges is no contradiction.
    """
    if said is None:
        return ""
    name = "generation" if "generation" in said else "certs_generation"
    if there is None:
        return f"is gone, and the audit log knows its generation {said[name]}"
    ours, theirs = there[name], said[name]
    if not isinstance(ours, int) or not isinstance(theirs, int) or ours > theirs:
        return ""
    if ours < theirs:
        return f"is of generation {ours}, and the audit log knows {theirs}: an older file was put there"
    differs = [key for key in there if key != "event" and said.get(key) != there[key]]
    return f"is not what the audit log has of generation {theirs}: {', '.join(differs)}" if differs else ""
