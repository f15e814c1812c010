"""Where a rollout stands, wave by wave: what became of the devices of a channel, and which of them failed.

All devices of the channel are counted: for threads, and not for each poll.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ...release.channels import Pointer
from ...release.records import Release
from ...release.rollout import Counts, salted
from ...release.waves import Standing, Wave, proven_name
from ...store.device_table import DeviceTable
from ...store.labels import Labels
from ...store.rollout_rows import Rollout
from ...store.selection import NONE, Condition, all_of, any_of, in_channel, is_in, is_named, negated
from ...store.wave_rows import FATES, Fate, Members, WaveRows
from .rollout_options import UptimeClock

WAVE_STATES = DONE, RUNNING, WAITING = "done", "running", "waiting"
"""Of a wave: the next one has begun; it is the last that began; it has not begun."""
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
        """Count the devices of one kind."""
        self.devices += fate.devices
        for name, count in zip(FATES, fate.counts, strict=True):
            setattr(self, name, getattr(self, name) + count)

    def counts(self) -> Counts:
        """Return them as a rollout is judged."""
        return Counts(self.devices, self.offered, self.downloaded, self.came_back, self.failed + self.silent)


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


@dataclass(frozen=True)
class WaveCounter:
    """Counts the devices of a `table`, by what operators say of them and by the clock; methods block."""

    table: DeviceTable
    labels: Labels
    clock: UptimeClock

    def count(self, product: str, channel: str, pointer: Pointer, release: Release | None) -> Standings:
        """Return where a channel's rollout of a `release`, None where that is lost, stands; raises SystemFaultError."""
        rows, size = self._rows(product, channel, pointer, release), len(pointer.waves)
        found = Standings([Funnel() for _ in range(size)], [Funnel() for _ in range(size)])
        named = [0] * size
        for fate in rows.fates_of(self.table.query(*rows.fates())):
            named = [sum(pair) for pair in zip(named, fate.named, strict=True)]
            if fate.is_set_aside:
                continue
            (found.rest if fate.wave is None else found.waves[fate.wave]).add(fate)
            if fate.heard and fate.wave is not None:
                found.heard[fate.wave].add(fate)
        aimed = (number for number, wave in enumerate(pointer.waves) if wave.tags or wave.devices)
        found.unmet = {number for number in aimed if not named[number]}
        pinned = is_named(self.labels.pinned(product))
        found.pinned = self.table.count(product, all_of(in_channel(channel), pinned))
        if any(funnel.failed or funnel.silent for funnel in (*found.waves, found.rest)):
            found.failed = self._failed(product, rows)
        return found

    def missing(self, product: str, channel: str, wave: Wave) -> list[str]:
        """Return the tags and names of a wave that no device has which may be updated, as `Wave.who` has them."""
        meant = self._meant(product, channel)
        tags = {f"tag {tag}": self.labels.has_tag(product, tag) for tag in wave.tags}
        names = {device: _called(device) for device in wave.devices}
        return [who for who, has in (tags | names).items() if not self.table.count(product, all_of(meant, has))]

    def _failed(self, product: str, rows: WaveRows) -> list[FailedDevice]:
        return [
            FailedDevice(
                device,
                self.labels.get(product, device).name,
                0 if wave is None else wave + 1,
                bool(silent),
                since,
                error,
            )
            for device, wave, silent, since, error in self.table.query(*rows.failed(MAX_FAILED_NAMED))
        ]

    def _rows(self, product: str, channel: str, pointer: Pointer, release: Release | None) -> WaveRows:
        now, patience = self.clock.read(60.0 * pointer.patience)
        return WaveRows.until(
            now,
            patience,
            self.table.rollout(product, channel, pointer.version) or Rollout(pointer.version, now),
            product=product,
            meant=self._meant(product, channel),
            digest=self.table.digest,
            salt=salted("", pointer.salt),
            runs=NONE if release is None else is_in("md5", release.runs),
            waves=[Members(self._named(product, wave), wave.percent) for wave in pointer.waves],
        )

    def _meant(self, product: str, channel: str) -> Condition:
        """Return the condition that a device may be updated in a channel."""
        return all_of(in_channel(channel), negated(is_named(self.labels.pinned(product))))

    def _named(self, product: str, wave: Wave) -> Condition:
        """Return the condition that a device is meant by its name, or the MAC address that it proves, or by a tag."""
        return any_of(_called(*wave.devices), *(self.labels.has_tag(product, tag) for tag in wave.tags))


def _called(*names: str) -> Condition:
    """Return the condition that a device has one of these names, or proves the MAC address that is one."""
    return is_in("device", {*names, *map(proven_name, names)})
