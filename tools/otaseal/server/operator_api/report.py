"""The report of a product: what runs where, how old that is, how fast the last security release reached its devices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from functools import partial
from typing import Any

from ...release.notes import NO_NOTES, Notes
from ...release.reach import reach
from ...release.records import Release
from ...release.standards import POINTS
from ...store.device_table import Active
from .fleet import FLUSH_SECONDS
from .handlers.context import OperatorContext

ACTIVE_SECONDS = 30 * 86400.0
"""A device that was silent for longer is counted as that, and not waited for."""
SECURITY = "security"


def make(context: OperatorContext, product: str) -> dict[str, Any]:
    """Return the report of a product, in JSON's own types; blocks, for a thread. Raises SystemFaultError."""
    fleet, now = context.fleet, time.time()
    fleet.recorder.flush(FLUSH_SECONDS)
    releases = sorted(context.catalog.releases(product), key=lambda release: release.created)
    notes = context.notes.of(product)
    since = now - ACTIVE_SECONDS
    active = fleet.devices.active(product, since)
    ends = context.notes.support_ends(product)
    return {
        "product": product,
        "made": datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "support": {"ends": ends, "over": ends is not None and date.fromisoformat(ends) < date.today()},
        "devices": {"seen": fleet.devices.count(product), "active": sum(one.devices for one in active)},
        "versions": _versions(active, releases, notes, now),
        "security": _last_security(partial(fleet.devices.had, product, since), active, releases, notes),
        "releases": [_release(release, notes.get(release.version, NO_NOTES)) for release in reversed(releases)],
        "points": [point._asdict() for point in POINTS],
    }


def _versions(
    active: Iterable[Active], releases: Sequence[Release], notes: Mapping[str, Notes], now: float
) -> list[dict[str, Any]]:
    """Return what devices run, the most frequent first; `days` is how old that is, None for what is no release."""
    known, by_md5 = {release.version: release for release in releases}, _by_md5(releases)
    counts = Counter[str]()
    for one in active:
        counts[_version(one, by_md5)] += one.devices
    rows = []
    for version, count in counts.most_common():
        release = known.get(version)
        days = None if release is None else max(0, int((now - _seconds(release.created)) // 86400))
        rows.append(
            {"version": version, "devices": count, "days": days, "severity": notes.get(version, NO_NOTES).severity}
        )
    return rows


def _last_security(
    had: Callable[[Iterable[Active], Iterable[str]], Sequence[float]],
    active: Sequence[Active],
    releases: Sequence[Release],
    notes: Mapping[str, Notes],
) -> dict[str, Any] | None:
    """Return how fast the last security release reached devices, None where there was none."""
    last = next((one for one in reversed(releases) if notes.get(one.version, NO_NOTES).severity == SECURITY), None)
    if last is None:
        return None
    enough = {last.version, *(release.version for release in releases if release.created > last.created)}
    by_md5 = _by_md5(releases)
    times = had([one for one in active if _version(one, by_md5) in enough], enough)
    missing = sum(one.devices for one in active) - len(times)
    found = reach([*times, *[None] * missing], _seconds(last.created))
    return {
        **_release(last, notes[last.version]),
        "devices": found.devices,
        "reached": found.reached,
        "seconds": {str(share): seconds for share, seconds in found.seconds.items()},
    }


def _release(release: Release, said: Notes) -> dict[str, Any]:
    return {
        "version": release.version,
        "created": release.created,
        "commit": release.git_commit,
        "security_counter": release.security_counter,
        **said._asdict(),
    }


def _by_md5(releases: Iterable[Release]) -> dict[str, str]:
    return {md5: release.version for release in releases for md5 in release.runs}


def _version(active: Active, by_md5: Mapping[str, str]) -> str:
    return by_md5.get(active.md5) or active.version or "unknown"


def _seconds(created: str) -> float:
    return datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
