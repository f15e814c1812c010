"""Where a rollout stands, wave by wave: what became of each device of a channel, and which of them failed.

All devices of the channel are read, a thousand at a time: for threads, and not for each poll.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ...release.channels import Pointer
from ...release.evidence import WEIGHTS, evidence_of
from ...release.records import Release
from ...release.rollout import Counts
from ...release.waves import Standing, wave_of
from ...store.device_rows import Device
from ...store.device_table import DeviceTable
from ...store.labels import Labels
from ...store.rollout_rows import Rollout
from ...store.row_changes import CLOCK_SECONDS
from ...store.selection import in_channel
from .rollout_options import UptimeClock

WAVE_STATES = DONE, RUNNING, WAITING = "done", "running", "waiting"
"""Of a wave: the next one has begun; it is the last that began; it has not begun."""
PAGE = 1000
MAX_FAILED_NAMED = 100
"""Devices that failed and are named."""


@dataclass
class Funnel:
    """Devices of a wave: all of them, those answered with the release, with all of it, back with it, and not.

    `failed` came back with what they ran before, or said so; `silent` did not come back in time, and count as that.
    """

    devices: int = 0
    offered: int = 0
    downloaded: int = 0
    came_back: int = 0
    failed: int = 0
    silent: int = 0

    def add(self, fate: Fate) -> None:
        """Count one device."""
        self.devices += 1
        self.offered += fate.offered
        self.downloaded += fate.downloaded
        self.came_back += fate.came_back
        self.failed += fate.failed
        self.silent += fate.silent

    def counts(self) -> Counts:
        """Return them as a rollout is judged."""
        return Counts(self.devices, self.offered, self.downloaded, self.came_back, self.failed + self.silent)


class Fate(NamedTuple):
    """What became of one device; `since` is when it failed or had been silent for too long, in seconds since 1970."""

    offered: bool
    downloaded: bool
    came_back: bool
    failed: bool
    silent: bool
    since: float | None = None


class FailedDevice(NamedTuple):
    """A device that did not come back, its wave (from 1; 0 for none), the name that people gave it, its last error."""

    device: str
    name: str
    wave: int
    silent: bool
    since: float
    error: int | None


@dataclass
class Standings:
    """The waves of a plan, of all devices and of those whose word counts; `rest` are those that no wave has.

    `pinned` devices stay with what they run, and are in no wave. `unmet` are the waves, from 0, whose tags and names no
    other device has, not even one of an earlier wave.
    """

    waves: list[Funnel]
    heard: list[Funnel]
    rest: Funnel = field(default_factory=Funnel)
    pinned: int = 0
    unmet: set[int] = field(default_factory=set)
    failed: list[FailedDevice] = field(default_factory=list)

    def standing(self, wave: int) -> Standing:
        """Return what the gate of a wave, from 0, is judged by."""
        return Standing(self.waves[wave].counts(), self.heard[wave].counts(), wave in self.unmet)


class _Times(NamedTuple):
    began: float
    set_aside: float
    now: float
    patience: float | None


@dataclass(frozen=True)
class WaveCounter:
    """Counts the devices of a `table`, by what operators say of them and by the clock; methods block."""

    table: DeviceTable
    labels: Labels
    clock: UptimeClock

    def count(self, product: str, channel: str, pointer: Pointer, release: Release | None) -> Standings:
        """Return where a channel's rollout of a `release`, None where that is lost, stands; raises SystemFaultError."""
        size = len(pointer.waves)
        found = Standings([Funnel() for _ in range(size)], [Funnel() for _ in range(size)])
        runs = frozenset[str]() if release is None else frozenset(release.runs)
        times = self._times(product, channel, pointer)
        by_tags = any(wave.tags for wave in pointer.waves)
        found.unmet.update(number for number, wave in enumerate(pointer.waves) if wave.tags or wave.devices)
        for row in rows(self.table, product, channel):
            if self.labels.is_pinned(product, row.device):
                found.pinned += 1
                continue
            tags = self.labels.tags_of(product, row.device, row) if by_tags else frozenset[str]()
            if found.unmet:
                found.unmet -= {number for number in found.unmet if pointer.waves[number].names(row.device, tags)}
            fate = fate_of(row, pointer.version, runs, times)
            if fate.since is None or fate.since > times.set_aside:
                wave = wave_of(pointer.waves, row.device, tags, pointer.salt)
                self._add(found, row, fate, wave, times.began)
        return found

    def _add(self, found: Standings, row: Device, fate: Fate, wave: int | None, began: float) -> None:
        """Count a device."""
        (found.rest if wave is None else found.waves[wave]).add(fate)
        kind = evidence_of(row.device, row.first_seen, began, row.enrolled)
        if wave is not None and WEIGHTS[kind].votes != 0:
            found.heard[wave].add(fate)
        if fate.since is not None and len(found.failed) < MAX_FAILED_NAMED:
            name, number = self.labels.get(row.product, row.device).name, 0 if wave is None else wave + 1
            found.failed.append(FailedDevice(row.device, name, number, fate.silent, fate.since, row.error))

    def _times(self, product: str, channel: str, pointer: Pointer) -> _Times:
        now, patience = self.clock.read(60.0 * pointer.patience)
        begun = self.table.rollout(product, channel, pointer.version) or Rollout(pointer.version, now)
        return _Times(begun.began, -math.inf if begun.set_aside is None else begun.set_aside, now, patience)


def fate_of(row: Device, version: str, runs: frozenset[str], times: _Times) -> Fate:
    """Return what became of a device in the rollout of a version, whose sketches have these MD5s (`TALLY` in SQL).

    One that runs it without having been given it, as by cable, is back with it, too.
    """
    if row.md5 in runs:
        return Fate(True, True, True, False, False)
    if row.offered != version:
        return Fate(False, False, False, False, False)
    delivered, came_back = row.delivered_at, row.confirmed_at is not None
    failed = not came_back and row.failed_at is not None
    silent = not came_back and not failed and delivered is not None and _is_late(delivered, times)
    since = row.failed_at if failed else (delivered or 0.0) + (times.patience or 0.0) if silent else None
    return Fate(True, delivered is not None, came_back, failed, silent, since)


def _is_late(delivered: float, times: _Times) -> bool:
    """Return whether a delivery was not answered in time, or is dated after now: the clock was set back."""
    if times.patience is None:
        return False
    return delivered <= times.now - times.patience or delivered > times.now + CLOCK_SECONDS


def rows(table: DeviceTable, product: str, channel: str) -> Iterator[Device]:
    """Yield the devices of a channel, by name."""
    after = ""
    while page := table.list(product, in_channel(channel), after, PAGE):
        yield from page
        after = page[-1].device
