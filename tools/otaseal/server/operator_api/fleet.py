"""What the devices of a channel run, by release: before a channel is pointed elsewhere, whom that would strand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...errors import NotFoundError, SystemFaultError
from ...release import stranding
from ...release.channels import Channel, Pointer
from ...release.records import Release
from ...release.stranding import Consent, Effect, Group
from ...store.device_rows import Device, Selection
from ...store.devices import Devices
from ..catalog import Catalog
from ..device_api.recorder import Recorder
from .rollout_options import Look, failing, refusal

MAX_VERSIONS = 100
"""Versions that are counted by name: what a device says that it runs is a claim."""
FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class DeviceReader:
    """The devices as operators read them: what was noted a moment ago is in the file first.

    Reading takes a while, and belongs into a thread.
    """

    devices: Devices
    recorder: Recorder
    look: Look

    def list(self, product: str, selection: Selection, after: str, limit: int) -> tuple[Device, ...]:
        """Return `limit` of the selected devices at most, by name, those behind the name `after`."""
        self.recorder.flush(FLUSH_SECONDS)
        return self.devices.list(product, selection, after, limit)

    def get(self, product: str, device: str) -> Device:
        """Return what is known of a device; raises NotFoundError."""
        self.recorder.flush(FLUSH_SECONDS)
        known = self.devices.get(product, device)
        if known is None:
            raise NotFoundError(f"no device '{device[:64]}' of '{product}' was seen", "otaseal devices lists them")
        return known

    def settle(self) -> None:
        """Wait until what was noted before is in the file; raises SystemFaultError where that takes too long."""
        if not self.recorder.flush(FLUSH_SECONDS):
            raise SystemFaultError("the list of devices is not written yet", "look at otaseal devices in a while")

    def check_rollout(self, product: str, channel: str, pointer: Pointer) -> None:
        """Raise ConflictError where the channel, pointed at `pointer`, would be halted as soon as it is looked at."""
        self.recorder.flush(FLUSH_SECONDS)
        counts = failing(self.devices, product, channel, pointer, self.look)
        if counts is not None:
            raise refusal(pointer, counts)

    def running(self, product: str, channel: str) -> tuple[tuple[str, str, int], ...]:
        """Return `Devices.running`."""
        self.recorder.flush(FLUSH_SECONDS)
        return self.devices.running(product, channel)


@dataclass(frozen=True)
class Fleet:
    """The devices seen, against the releases of the catalog."""

    catalog: Catalog
    devices: DeviceReader

    def groups(self, product: str, channel: str) -> list[Group]:
        """Return how many devices of a channel run which release, by their sketch MD5 (F30b)."""
        known = self.catalog.known(product)
        counts: Counter[str | None] = Counter()
        for md5, _, count in self.devices.running(product, channel):
            counts[known[md5].release.version if md5 in known else None] += count
        return [
            Group(None if version is None else self.catalog.release(product, version), count)
            for version, count in counts.items()
        ]

    def versions(self, product: str, channel: str) -> dict[str, int]:
        """Return how many devices of a channel run which version, by their sketch MD5, else by what they say."""
        known, counts = self.catalog.known(product), Counter[str]()
        for md5, claimed, count in self.devices.running(product, channel):
            counts[known[md5].release.version if md5 in known else claimed or "unknown"] += count
        by_version = dict(counts.most_common(MAX_VERSIONS))
        others = counts.total() - sum(by_version.values()) if len(counts) > len(by_version) else 0
        return {**by_version, **({"others": others} if others else {})}

    def allow(self, new: Release, channel: str, before: Channel | None, consent: Consent, who: str) -> Effect:
        """Return what pointing `channel`, which is in the state `before`, at `new` does to its devices.

        Raises InputError where that would lock devices out and `consent` does not say that it is meant; where it does,
        the audit log has it, durably, before anything is done.
        """
        product = new.product
        current = None if before is None else self.catalog.sound(product, before.pointer.version)
        effect = stranding.check(new, current, self.groups(product, channel), consent)
        agreed = effect.as_event()
        if agreed:
            where = {"event": "consent", "product": product, "channel": channel, "version": new.version}
            self.catalog.store.record_event({**where, **agreed, "by": who})
        return effect
