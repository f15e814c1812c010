"""The devices' file with a transaction for each change; the server makes one of many."""

from __future__ import annotations

from otaseal.release.rollout import Counts
from otaseal.store import devices
from otaseal.store.device_rows import Asking, Device, Sighting, bounded
from otaseal.store.rollout_rows import Rollout


class Devices(devices.Devices):
    def see(self, sighting: Sighting, now: float) -> Device:
        claim = bounded(sighting)
        row, changed = self.preview(self.get(claim.product, claim.device), claim, now)
        if changed:
            with self.batch() as rows:
                row = rows.see(sighting, now)
        return row

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float, address: str = "") -> None:
        with self.batch() as rows:
            rows.offer(Asking(product, device, address), version, expected_md5, now)

    def deliver(self, product: str, device: str, version: str, now: float, address: str = "") -> int:
        with self.batch() as rows:
            rows.deliver(Asking(product, device, address), version, now)
        row = self.get(product, device)
        return 0 if row is None or row.offered != version else row.deliveries

    def counts(self, product: str, channel: str, version: str, now: float, patience: float | None) -> Counts:
        return self.tally(product, channel, Rollout(version, 0.0), now, patience).everybody
