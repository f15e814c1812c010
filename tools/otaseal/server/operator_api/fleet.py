"""The devices seen, and the releases that they run: how many, and which of them a change of a channel would strand."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import ConflictError, NotFoundError, SystemFaultError
from ...protocol.running import Running
from ...release import stranding
from ...release.channels import Channel, Pointer
from ...release.evidence import UNPROVEN_PREFIX, Evidence, evidence_of
from ...release.records import Release
from ...release.rollout import Counts, Tally, must_halt
from ...release.stranding import Consent, Effect, Group
from ...store.device_rows import Device
from ...store.device_table import FLASH, DeviceTable, FirstSeen
from ...store.enrolments import Enrolments
from ...store.labels import NO_LABEL, Labels
from ...store.proof_key_rows import ProofKey, WaitingKey
from ...store.proof_keys import ProofKeys, fingerprint
from ...store.selection import Condition, is_in
from ...store.statements import REMEMBERED_SECONDS
from ..catalog import Catalog
from ..device_api.recorder import Recorder
from .rollout_options import UptimeClock, outcomes, tally
from .room import Room

MAX_VERSIONS = 100
"""Versions that are counted by name: what a device says that it runs is a claim."""
FLUSH_SECONDS = 2.0


class Listed(NamedTuple):
    """A device, the version that it runs, and how well it is known in the rollout of its channel."""

    device: Device
    running: str | None
    evidence: Evidence


@dataclass(frozen=True)
class Fleet:
    """The devices as operators read them, once what was recorded before is in the file; methods block, for threads."""

    catalog: Catalog
    devices: DeviceTable
    recorder: Recorder
    clock: UptimeClock
    keys: ProofKeys
    enrolments: Enrolments
    labels: Labels
    room: Room

    def page(self, product: str, where: Condition, after: str, limit: int) -> list[Listed]:
        """Return the devices that are meant behind the name `after`, at most `limit`."""
        self.recorder.flush(FLUSH_SECONDS)
        return self._listed(product, self.devices.list(product, where, after, limit))

    def first_seen(self, product: str) -> Sequence[FirstSeen]:
        """Return how many devices of a product, "" for all, were seen first on each day, the latest first."""
        self.recorder.flush(FLUSH_SECONDS)
        return self.devices.first_seen(product)

    def without_room(self, product: str, where: Condition) -> Condition:
        """Return the condition that a device of those meant has too little free space for its channel's release."""
        short = self.room.short(product, self.devices.flashes(product, where))
        return is_in(FLASH, (kind.text for kind in short))

    def named(self, product: str, names: Sequence[str]) -> list[Listed]:
        """Return those of the named devices that were seen."""
        self.recorder.flush(FLUSH_SECONDS)
        return self._listed(product, filter(None, (self.devices.get(product, name) for name in names)))

    def _listed(self, product: str, devices: Iterable[Device]) -> list[Listed]:
        known, begun, copies = self.catalog.known(product), self._begun(product), self.keys.copies()
        return [
            Listed(
                _with_copy(device, copies.get((product, device.device))),
                _version(known, device.md5) or device.version or None,
                evidence_of(device.device, device.first_seen, begun.get(device.channel), device.enrolled),
            )
            for device in devices
        ]

    def _begun(self, product: str) -> dict[str, float]:
        """Return when the rollouts of a product's channels began."""
        channels = self.catalog.channels(product).items()
        found = ((name, self.devices.rollout(product, name, state.pointer.version)) for name, state in channels)
        return {name: rollout.began for name, rollout in found if rollout is not None}

    def channel_of(self, product: str, device: str) -> str | None:
        """Return the channel that a device asked for last; None for one of which nothing is known.

        "" for one that was not seen, and has a key or a label, or asks for a certificate. Raises SystemFaultError.
        """
        self.recorder.flush(FLUSH_SECONDS)
        row = self.devices.get(product, device)
        if row is not None:
            return row.channel
        asked = self.enrolments.find(product, applicant(device))
        known = (self.keys.get(product, device), asked, self.labels.get(product, device) != NO_LABEL)
        return "" if any(known) else None

    def shown_key(self, product: str, device: str, chosen: str) -> WaitingKey | ProofKey:
        """Return the key of a device that could be accepted: the `chosen` one, by its fingerprint, "" for the only one.

        Raises NotFoundError; ConflictError where the one that was agreed could be meant, and another one that is shown
        since: anybody can show one.
        """
        known, waiting = self.keys.get(product, device), self.keys.waiting(product, device)
        shown = [key for key in (waiting, known) if key is not None and chosen in ("", fingerprint(key.key))]
        if not shown:
            what = f"not shown the key '{chosen}'" if chosen else "shown no key"
            raise NotFoundError(
                f"'{device}' of '{product}' has {what}",
                "it shows one within a few polls if its library can prove itself; otaseal devices show lists them",
            )
        if len(shown) > 1 and known is not None and waiting is not None and known.enrolled is None:
            raise ConflictError(
                f"two keys are shown for '{device}': '{fingerprint(known.key)}', agreed at first contact, and since "
                f"then '{fingerprint(waiting.key)}', from {waiting.address}",
                "otaseal devices accept ... --key takes one of them; otaseal devices show tells more of both",
            )
        return shown[0]

    def enrol(self, product: str, device: str, key: bytes) -> None:
        """Make `key` that of a device; raises SystemFaultError, CorruptStoreError."""
        self.keys.enrol(product, device, key, self.clock.read(0.0)[0])

    def require_written(self) -> None:
        """Wait until what was noted before is in the file; raises SystemFaultError where that takes too long."""
        if not self.recorder.flush(FLUSH_SECONDS):
            raise SystemFaultError("the list of devices is not written yet", "look at otaseal devices in a while")

    def check_rollout(self, product: str, channel: str, pointer: Pointer) -> None:
        """Raise ConflictError where the channel, pointed at `pointer`, would be halted when it is judged next."""
        self.recorder.flush(FLUSH_SECONDS)
        found = tally(self.devices, product, channel, pointer, self.clock)
        if not must_halt(found, pointer.max_failed):
            return
        heard = found.heard
        enough = max(map(_percent, (found.proven, heard, found.weighed)))
        raise ConflictError(
            f"the rollout of '{pointer.version}' would be halted at once: {heard.failed:.0f} of the "
            f"{heard.confirmed + heard.failed:.0f} devices that took it did not come back with it ({found.failures()})",
            "publish a release that works; or allow for as many failures: otaseal promote ... "
            f"--max-failed {enough}; or, if they are not to be believed: otaseal promote --percent ... --set-aside",
        )

    def rollouts(self) -> Iterator[tuple[str, str, Pointer, Tally]]:
        """Yield how the rollout of each channel goes, without votes, by product and channel."""
        self.recorder.flush(FLUSH_SECONDS)
        for product in self.catalog.store.products():
            for channel, state in self.catalog.channels(product).items():
                found = outcomes(self.devices, product, channel, state.pointer, self.clock)
                yield product, channel, state.pointer, found

    def set_aside(self, product: str, channel: str, pointer: Pointer, who: str) -> None:
        """Let the failures of a rollout until now count no more, once the audit log says who wanted that."""
        self.recorder.flush(FLUSH_SECONDS)
        found = tally(self.devices, product, channel, pointer, self.clock)
        event = {"event": "set-aside", "product": product, "channel": channel, "version": pointer.version}
        self.catalog.store.record_event({**event, "failed": found.failures(), "by": who})
        now, _ = self.clock.read(0.0)
        self.begin(product, channel, pointer.version)
        self.devices.set_aside(product, channel, pointer.version, now)

    def begin(self, product: str, channel: str, version: str) -> None:
        """Note that a rollout begins now, if it has not begun."""
        with contextlib.suppress(SystemFaultError):  # else it begins when it is judged: nobody waits for a disk here
            self.devices.begin(product, channel, version, self.clock.read(0.0)[0])

    def groups(self, product: str, channel: str) -> list[Group]:
        """Return how many devices of a channel run which release, on which board, by their sketch MD5 (F30b).

        What they ran before counts beside that for a while, where no update explains the change (`store.statements`).
        """
        since = self.clock.read(0.0)[0] - REMEMBERED_SECONDS
        counts, releases = Counter[int](), dict[int, Release | None]()
        for release, _, count in self._running(product, channel, since):
            counts[id(release)] += count
            releases[id(release)] = release
        return [Group(releases[one], count) for one, count in counts.items()]

    def versions(self, product: str, channel: str) -> dict[str, int]:
        """Return how many devices of a channel run which version, by their sketch MD5, else by what they say."""
        counts = Counter[str]()
        for release, claimed, count in self._running(product, channel, math.inf):
            counts[(release and release.version) or claimed or "unknown"] += count
        by_version = dict(counts.most_common(MAX_VERSIONS))
        others = counts.total() - sum(by_version.values()) if len(counts) > len(by_version) else 0
        return {**by_version, **({"others": others} if others else {})}

    def running_release(self, release: Release) -> int:
        """Return how many devices of a product said last that they run a release, or were offered it last."""
        self.recorder.flush(FLUSH_SECONDS)
        return self.devices.count_needing(release.product, release.version, release.runs)

    def allow(self, new: Release, channel: str, before: Channel | None, consent: Consent, who: str) -> Effect:
        """Return what pointing `channel`, which is in the state `before`, at `new` does to its devices.

        Raises InputError where that would strand devices without `consent`; with it, the audit log says so first.
        """
        product = new.product
        effect = stranding.check(new, self._current(new, before), self.groups(product, channel), consent)
        agreed = effect.as_event()
        if agreed:
            event = {"event": "consent", "product": product, "channel": channel, "version": new.version}
            self.catalog.store.record_event({**event, **agreed, "by": who})
        return effect

    def effect(self, new: Release, channel: str, before: Channel | None) -> Effect:
        """Return what `allow` would, whatever is agreed to."""
        return stranding.effect(new, self._current(new, before), self.groups(new.product, channel))

    def _current(self, new: Release, before: Channel | None) -> Release | None:
        return None if before is None else self.catalog.sound(new.product, before.pointer.version)

    def _running(self, product: str, channel: str, since: float) -> Iterator[tuple[Release | None, str, int]]:
        """Yield the releases that devices run, by their MD5, and the versions that they say, each with their number."""
        self.recorder.flush(FLUSH_SECONDS)
        known = self.catalog.known(product)
        for md5, claimed, count in self.devices.running(product, channel, since):
            yield known[md5].release if md5 in known else None, claimed, count


def applicant(device: str) -> str:
    """Return the name under which a device asks for certificates; "" for who only says that of another."""
    kind, _, name = device.partition(":")
    return "" if f"{kind}:" == UNPROVEN_PREFIX else name


def _with_copy(device: Device, other: tuple[str, str] | None) -> Device:
    """Return the row of a device, whose enrolled key is shown under another name, with that."""
    return device if other is None else device._replace(other_mac=other[1].partition(":")[2])


def _percent(counts: Counts) -> int:
    """Return what share of the outcomes are failures, rounded up."""
    outcomes = counts.confirmed + counts.failed
    return math.ceil(100 * counts.failed / outcomes - 1e-9) if outcomes else 0


def _version(known: Mapping[str, Running], md5: str) -> str | None:
    return known[md5].release.version if md5 in known else None
