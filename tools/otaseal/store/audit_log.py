"""The audit log: one JSON object a line, appended and flushed; what its lines say of releases and channels.

Who appends holds the store's lock, and flushes the directory. A kill may leave half a line, which was never
acknowledged: the next writer removes it, and readers do not see it. `check` compares a store with its log.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path
from typing import Any

from .. import files
from ..errors import CorruptStoreError, InputError, SystemFaultError
from ..release.archive_record import ArchiveRecord
from ..release.channels import Channel
from ..release.plan_fields import wave_fields

MAX_LINE = 16 * 1024
BLOCK = 4 * MAX_LINE
"""Bytes that are read at once from the end."""

Event = dict[str, object]
Named = tuple[str, str]
"""A product, and a version of it."""


def append(path: Path, *events: Event) -> None:
    """Append `events`, as `line_of` has them; raises InputError when one is too long, SystemFaultError for the disk."""
    line = b"".join(line_of(event).encode() + b"\n" for event in events)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, files.PUBLIC_MODE)
        with FileIO(descriptor, "r+b") as log:
            files.give_to_owner(descriptor, path.parent)
            end = _end_of_last_line(log)
            log.truncate(end)
            if log.write(line) != len(line):
                log.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
    except OSError as error:
        raise SystemFaultError(f"'{path}' cannot be written: {error.strerror}", "check the disk's space") from error


def line_of(event: Event) -> str:
    """Return the line of an event without its end, at this moment where it has no time; InputError when too long."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = json.dumps({"at": now, **event}, sort_keys=True, separators=(",", ":"))
    if len(line) >= MAX_LINE:
        raise InputError(f"an audit line has {len(line) + 1} bytes", f"it has at most {MAX_LINE}")
    return line


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the lines by number from 1, None for a damaged one; half a line at the end is not one yet."""
    try:
        with path.open("rb") as log:
            number = 0
            while line := log.readline(MAX_LINE):
                number += 1
                if line.endswith(b"\n") or len(line) == MAX_LINE:
                    yield number, _parse(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SystemFaultError(f"'{path.name}' cannot be read: {error.strerror}", "check the disk") from error


def lines_back(path: Path, before: int | None = None) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the lines from the last to the first, each with where it begins; None for a damaged one.

    `before` is where one begins that was yielded. Raises SystemFaultError, CorruptStoreError for a line without an end.
    """
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            end = size if before is None else min(before, size)
            log.seek(start := max(0, end - BLOCK))
            data = log.read(end - start)
            data = data[: data.rfind(b"\n") + 1][:-1]  # what has no end yet is not a line
            at = start + len(data)
            while data or start:
                first, *whole = data.split(b"\n")
                for line in reversed(whole):
                    at -= len(line)
                    yield at, _parse(line)
                    at -= 1
                if not start:
                    yield 0, _parse(first)
                    return
                if len(first) > MAX_LINE:
                    raise CorruptStoreError(f"'{path.name}' has a line without an end", "see otaseal store check")
                end, start = start, max(0, start - BLOCK)
                log.seek(start)
                data = log.read(end - start) + first
    except FileNotFoundError:
        return
    except OSError as error:
        raise SystemFaultError(f"'{path.name}' cannot be read: {error.strerror}", "check the disk") from error


KINDS = ("generation", "certs_generation")
"""Kinds of pointers, by the field that has their generation: a channel's release, and its certificate archive."""


@dataclass(frozen=True)
class LastEvents:
    """The last line of each pointer, by kind, product and channel; of each release its record's SHA-256, if logged."""

    releases: dict[Named, str | None] = field(default_factory=dict)
    pointers: dict[tuple[str, str, str], Event] = field(default_factory=dict)


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


def plan_of(before: Channel | None, after: Channel) -> Event:
    """Return what the line says of a rollout in waves: which one runs, and the plan where it is another than before."""
    plan, known = after.pointer.plan, None if before is None else before.pointer.plan
    if plan is None:
        return {}
    said: Event = {"wave": plan.current + 1, "waves": len(plan.waves)}
    is_new = known is None or known.waves != plan.waves
    return said | ({"plan": [wave_fields(wave) for wave in plan.waves]} if is_new else {})


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


def last_events(numbered: Iterable[tuple[int, dict[str, Any] | None]]) -> LastEvents:
    """Return the last events among `lines`; damaged ones are passed over."""
    last = LastEvents()
    for _, line in numbered:
        if line is None:
            continue
        product, event = str(line.get("product")), line.get("event")
        if event == "prune":
            last.releases.pop((product, str(line.get("version"))), None)
        elif event == "publish":
            last.releases[product, str(line.get("version"))] = line.get("record")
        elif (kind := next((name for name in KINDS if name in line), None)) is not None:
            last.pointers[kind, product, str(line.get("channel"))] = line
    return last


def contradiction(logged: Event, stored: Event | None) -> str:
    """Return how a pointer, as the event `stored` (None: none), contradicts its last line, "" where it does not.

    A pointer that is a generation ahead was replaced by a process that was killed before it wrote the line.
    """
    if stored is None:
        return f"is gone, and the audit log knows its generation {_generation(logged)}"
    if is_ahead(stored, logged):
        return ""
    ours, theirs = _generation(stored), _generation(logged)
    if ours != theirs:
        return f"is of generation {ours}, and the audit log knows {theirs}: an older file was put there"
    differs = [key for key in stored if key != "event" and logged.get(key) != stored[key]]
    return f"is not what the audit log has of generation {theirs}: {', '.join(differs)}" if differs else ""


def is_ahead(stored: Event, logged: Event) -> bool:
    """Return whether a pointer's generation is later than its line's, or one of them is not a number."""
    ours, theirs = _generation(stored), _generation(logged)
    return not isinstance(ours, int) or not isinstance(theirs, int) or ours > theirs


def _generation(event: Event) -> object:
    return next((event[name] for name in KINDS if name in event), None)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _end_of_last_line(log: FileIO) -> int:
    size = log.seek(0, os.SEEK_END)
    start = log.seek(max(0, size - MAX_LINE))
    return start + log.read(MAX_LINE).rfind(b"\n") + 1
