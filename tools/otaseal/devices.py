"""Which devices were seen, what they say they run, and what they were sent: one SQLite file beside the store.

Telemetry, not promises: no release depends on it, so commits are not flushed one by one (WAL, synchronous=NORMAL: a
power cut may forget the last seconds and damages nothing). Everything a device says is a claim of bounded length, and
the number of devices is bounded too: beyond it those go first that never took a release, then the longest silent, so
that a flood of invented devices cannot push out a fleet. Processes share the file; each opens its own, after forking.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, SystemFaultError
from .rollout import Counts

__all__ = ["MAX_CLAIM", "MAX_DEVICES", "Device", "Devices", "Sighting"]

MAX_DEVICES = 100_000
MAX_CLAIM = 128
"""Characters of any one thing that a device says; longer ones are cut."""
LAST_SEEN_RESOLUTION = 60.0
"""Seconds within which a device that says the same again costs no write."""
EVICTED_AT_ONCE = 100
BUSY_TIMEOUT = 5.0


@dataclass(frozen=True)
class Sighting:
    """One request: `device` is `protocol.device_id`, `md5` of the running sketch; "" for what was not said."""

    product: str
    channel: str
    device: str
    md5: str = ""
    version: str = ""
    mac: str = ""


@dataclass(frozen=True)
class Device:
    """What is known of one device. Times are seconds since 1970.

    `offered` is the version that it was last answered with, `expected_md5` the sketch MD5 it should come back with,
    `deliveries` how often that went out in full since the device's own MD5 last changed, `confirmed_at` when it came
    back with it. `failed_at`: it came back after a full delivery with what it ran before.
    """

    product: str
    device: str
    channel: str
    md5: str
    version: str
    mac: str
    first_seen: float
    last_seen: float
    offered: str | None
    expected_md5: str | None
    offered_at: float | None
    deliveries: int
    delivered_at: float | None
    confirmed_at: float | None
    failed_at: float | None


class Devices:
    """The devices in the file `path`; use in a `with` statement, or `close` it."""

    def __init__(self, path: Path, limit: int = MAX_DEVICES) -> None:
        """Open the file, making it if it is missing; raises SystemFaultError when it is none of ours or unusable."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError

    def see(self, sighting: Sighting, now: float) -> Device:
        """Note that a device asked, and return what is known of it now."""
        raise NotImplementedError

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        """Note that a device is being answered with a release, after which it should run a sketch of that MD5."""
        raise NotImplementedError

    def deliver(self, product: str, device: str, version: str, now: float) -> int:
        """Note that a release went out in full; return how often since the device's own MD5 last changed."""
        raise NotImplementedError

    def get(self, product: str, device: str) -> Device | None:
        """Return what is known of a device, None if nothing is."""
        raise NotImplementedError

    def list(self, product: str, channel: str | None = None, limit: int = 1000) -> tuple[Device, ...]:
        """Return a product's devices, last seen first, at most `limit`."""
        raise NotImplementedError

    def counts(self, product: str, channel: str, version: str, now: float, patience: float) -> Counts:
        """Return how a rollout goes; a delivery unanswered for `patience` seconds counts as failed."""
        raise NotImplementedError

    def forget(self, product: str, device: str) -> bool:
        """Forget a device, so that a loop that was broken may be tried again; return whether it was known."""
        raise NotImplementedError
