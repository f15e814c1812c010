"""A rollout as a list of waves: which one a device is in, whether its turn has come, and when the next one begins.

A device is in the first wave that has it, by name, by tag, or by its place in the rollout (`rollout.place`), so that a
wave keeps everyone whom it had. Its turn comes when its wave begins, and does not pass: it only pauses outside of the
wave's window. The gate of a wave, from its devices' answers, its time and its approvals, lets the next one begin.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from ..errors import ConfigError, counted
from .evidence import PROVEN_PREFIX
from .rollout import MIN_OUTCOMES, Counts, in_share, place
from .windows import Opening, Window, local_time

MAX_WAVES, MAX_NAMES, MAX_NAME = 16, 64, 128
"""Of one plan, waves and devices or tags named; characters of a name."""
FEW = 3
"""Devices of a wave that are told by their names."""
MAX_SOAK, MAX_PATIENCE = 60 * 24 * 90, 60 * 24 * 365
"""Minutes."""
MAC_PREFIX = "mac:"
"""What the name of a device begins with that is known by its MAC address."""
ANYBODY = "*"
"""In `Wave.approval`: whoever may change the channel."""
MIN_WAIT, MAX_WAIT, LATENESS = 10, 23 * 3600, 8
"""Seconds that a device is told to wait for its window, at least and at most; it takes up to the eighth part longer."""
USUAL_PACE, PACES = 3600.0, 1.25
"""Seconds between two polls of a device that is new; how many of its pauses away a window is that it would miss."""
SPREAD_SECONDS = 1800.0
"""In how much of its window, or half of it if that is less, devices that wait for it ask."""


@dataclass(frozen=True)
class Wave:
    """Who gets the release, when, and what has to be before the next wave begins.

    Who: the named `devices`, those with one of the `tags`, and of all others `percent`, which counts those that earlier
    waves of the plan had. When: in the `window`, None for always. Gate: at least `answers` devices, or all of a smaller
    wave, have come back or failed, at most `max_failed` per cent of them failed (None: the rollout's own), the wave is
    `soak` minutes old, and one of `approval` has approved.
    """

    percent: int = 0
    tags: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    window: Window | None = None
    soak: int = 0
    answers: int = MIN_OUTCOMES
    max_failed: int | None = None
    approval: tuple[str, ...] = ()

    def has(self, device: str, tags: Collection[str], share: int) -> bool:
        """Return whether a device with these tags and this place is meant."""
        return in_share(share, self.percent) or self.names(device, tags)

    def names(self, device: str, tags: Collection[str]) -> bool:
        """Return whether a device is meant by its name or by a tag."""
        if self.devices and is_named(device, self.devices):
            return True
        return bool(self.tags) and any(tag in tags for tag in self.tags)

    @property
    def who(self) -> str:
        """Who is meant, in words."""
        named = self._named(", ")
        share = "all others" if self.percent == 100 else f"{self.percent} % of the others" if self.percent else ""
        return " and ".join(filter(None, (" or ".join(f"tag {tag}" for tag in self.tags), named, share)))

    @property
    def nobody(self) -> str:
        """In words, that no device has one of the tags or names, pinned ones aside."""
        quoted = " or ".join(f"'{tag}'" for tag in self.tags)
        names = f"is {self._named(' or ')}" if self.devices else ""
        return "no device to update " + " or ".join(filter(None, (f"has the tag {quoted}" if quoted else "", names)))

    def _named(self, between: str) -> str:
        few = len(self.devices) <= FEW
        return between.join(self.devices) if few else counted(len(self.devices), "named device")


class Turn(Enum):
    """What a device may have of a rollout now."""

    NOW = "the release"
    LATER = "what it had before, until its wave begins"
    CLOSED = "nothing, until its window opens"


@dataclass(frozen=True)
class Plan:
    """The waves, which of them (from 0) is the `current` one, since when, and who approved of the next."""

    waves: tuple[Wave, ...]
    current: int = 0
    began: int = 0
    approved: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.waves) <= MAX_WAVES:
            raise ConfigError(f"a plan has {len(self.waves)} waves", f"give it 1 to {MAX_WAVES}")
        if not 0 <= self.current < len(self.waves):
            raise ConfigError(f"wave {self.current + 1} of {len(self.waves)} is none", "name one of the plan's waves")
        if sum(len(wave.devices) + len(wave.tags) for wave in self.waves) > MAX_NAMES:
            raise ConfigError(f"a plan names more than {MAX_NAMES} devices and tags", "give the devices one tag")
        reached = 0
        for number, wave in enumerate(self.waves, 1):
            if reached == 100:
                raise ConfigError(
                    f"wave {number} comes after one that has all devices", "leave it out, or put it first"
                )
            if not (wave.tags or wave.devices or wave.percent):
                raise ConfigError(f"wave {number} has no devices", "give it tags, devices or percent")
            if wave.percent and wave.percent <= reached:
                raise ConfigError(
                    f"wave {number} has {wave.percent} %, and one before it {reached} %",
                    "give each wave more: a share counts those that earlier waves had",
                )
            reached = max(reached, wave.percent)

    @property
    def reach(self) -> int:
        """The share of the devices, in per cent, that waves have reached which go by that."""
        return max(wave.percent for wave in self.waves[: self.current + 1])

    @property
    def wave(self) -> Wave:
        """The current wave."""
        return self.waves[self.current]

    @property
    def is_last(self) -> bool:
        """Whether all waves have begun."""
        return self.current == len(self.waves) - 1

    def has_opened(self, now: float) -> bool:
        """Return whether each wave's window was open since the current one began, so that nobody waits for a first."""
        windows = (wave.window for wave in self.waves if wave.window is not None)
        return all(window.next_opening(self.began).opens <= now for window in windows)

    def next(self, now: float) -> Plan:
        """Return the plan after the next wave began."""
        return replace(self, current=self.current + 1, began=int(now), approved="")


def is_named(device: str, names: Collection[str]) -> bool:
    """Return whether a device is among `names`, by its own, or by the MAC address that it proves."""
    return device in names or f"{MAC_PREFIX}{device.removeprefix(PROVEN_PREFIX)}" in names


def proven_name(device: str) -> str:
    """Return the name of a device that proves the MAC address by which a plan names it; else its own."""
    return f"{PROVEN_PREFIX}{device.removeprefix(MAC_PREFIX)}" if device.startswith(MAC_PREFIX) else device


def wave_of(waves: Sequence[Wave], device: str, tags: Collection[str], salt: str) -> int | None:
    """Return which wave a device is in, from 0; None for one that the plan leaves out."""
    share = place(device, salt)
    for number, wave in enumerate(waves):  # every poll of a rollout asks
        if wave.has(device, tags, share):
            return number
    return None


def turn(current: int, wave: int | None, is_open: Sequence[bool]) -> Turn:
    """Return what a device in `wave` may have while the `current` one runs, and of each wave the window `is_open`."""
    if wave is None:
        return Turn.LATER
    if not is_open[wave]:
        return Turn.CLOSED
    return Turn.NOW if wave <= current else Turn.LATER


class Openings(NamedTuple):
    """Which waves' windows are open, and from when until when (seconds since 1970) that is known."""

    is_open: tuple[bool, ...]
    since: float
    until: float
    windows: tuple[Opening | None, ...]
    """When each opens next; None for one that always is."""

    def holds(self, now: float) -> bool:
        """Return whether it is known for `now`, whichever way the clock was set."""
        return self.since <= now < self.until


def openings(waves: Sequence[Wave], now: float) -> Openings:
    """Return which waves' windows are open."""
    windows = [wave.window for wave in waves]
    changes = [window.next_change(now) for window in windows if window is not None]
    return Openings(
        tuple(window is None or window.is_open(now) for window in windows),
        now,
        min(changes, default=math.inf),
        tuple(None if window is None else window.next_opening(now) for window in windows),
    )


def wait(opening: Opening, now: float, device: str, pace: float) -> int | None:
    """Return after how many seconds a device that waits for its window should ask, None where its own pace is right.

    `pace` is how long it paused before it asked: it comes once more before a window that is further away. Each asks at
    its own time in the beginning of the window, so that not all of them come at once. One that could come too late for
    it, as it waits a little longer than it is told, is told to ask before, and then again.
    """
    half, away = (opening.closes - opening.opens) / 2, opening.opens - now
    if away > min(PACES * pace, MAX_WAIT):
        return None
    seconds = away + place(device, "wait") / 2**64 * min(SPREAD_SECONDS, half)
    if seconds / LATENESS > half:
        seconds *= LATENESS / (LATENESS + 1)
    return max(MIN_WAIT, math.ceil(seconds))


class Standing(NamedTuple):
    """The devices of one wave: all of them, and those whose word counts (`evidence`).

    `unmet`: the wave has tags or names, and no device of the channel that may be updated has one of these.
    """

    devices: Counts
    heard: Counts
    unmet: bool = False


class Verdict(NamedTuple):
    """Whether the next wave may begin: what of that is there, and what is waited for, in words.

    `at` is when the wave is old enough, in seconds since 1970; None where that is not what is waited for.
    """

    passed: bool
    reasons: tuple[str, ...]
    at: float | None = None


def pending(plan: Plan, now: float) -> Verdict:
    """Return what the clock and the approvals say of the gate, where that can be told without the devices' answers."""
    waits, at = [], None
    ripe = plan.began + 60.0 * plan.wave.soak
    if now < ripe:
        at = ripe
        waits.append(f"soaks until {local_time(ripe, plan.wave.window.zone if plan.wave.window else 'UTC')}")
    if plan.wave.approval and not plan.approved:
        whose = (
            "anybody who may change the channel" if ANYBODY in plan.wave.approval else " or ".join(plan.wave.approval)
        )
        waits.append(f"waits for the approval of {whose}")
    return Verdict(not waits, tuple(waits), at)


def gate(plan: Plan, standing: Standing, max_failed: int, now: float) -> Verdict:
    """Return whether the next wave may begin; `max_failed` is the rollout's, in per cent.

    Devices whose word does not count are no answer; a wave that has only such waits for a person. So does one whose
    tags and names no device has: they may be mistyped, and nobody has tried the release.
    """
    if plan.is_last:
        return Verdict(False, ("all waves have begun",))
    clock, heard = pending(plan, now), standing.heard
    outcomes = int(heard.confirmed + heard.failed)
    needed = min(plan.wave.answers, int(heard.eligible or standing.devices.eligible))
    limit = max_failed if plan.wave.max_failed is None else plan.wave.max_failed
    waits = list(clock.reasons)
    if standing.unmet:
        waits.append(plan.wave.nobody)
    if outcomes < needed:
        waits.append(f"{outcomes} of {counted(needed, 'answer')}")
    if heard.failed * 100 > limit * outcomes:
        waits.append(f"{heard.failed:.0f} of {outcomes} failed, and at most {limit} % may")
    if waits:
        return Verdict(False, tuple(waits), clock.at)
    approved = (f"approved by {plan.approved}",) if plan.approved else ()
    came = f"{heard.confirmed:.0f} of {outcomes} came back" if outcomes else "no device is in it"
    return Verdict(True, (came, *approved))
