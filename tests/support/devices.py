"""The devices' file with a transaction for each change; the server makes one of many."""

from __future__ import annotations

from otaseal.store import devices
from otaseal.store.device_rows import Device, Sighting


class Devices(devices.Devices):
    def see(self, sighting: Sighting, now: float) -> Device:
        row, changed = self.preview(sighting, now)
        if changed:
            with self.batch() as rows:
                row = rows.see(sighting, now)
        return row

    def offer(self, product: str, device: str, version: str, expected_md5: str, now: float) -> None:
        with self.batch() as rows:
            rows.offer(product, device, version, expected_md5, now)

    def deliver(self, product: str, device: str, version: str, now: float) -> int:
        with self.batch() as rows:
            return rows.deliver(product, device, version, now)
