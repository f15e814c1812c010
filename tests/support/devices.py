"""The table of devices with a transaction for each change; the server makes one of many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from otaseal.release.rollout import Counts
from otaseal.store import devices
from otaseal.store.device_rows import Asking, Device, Sighting, bounded
from otaseal.store.device_table import MAX_DEVICES, DeviceTable
from otaseal.store.postgresql.database import Database
from otaseal.store.postgresql.devices import PostgresDevices
from otaseal.store.rollout_rows import Rollout
from support.filled_store import BACKENDS, new_location


class OneByOne(DeviceTable):
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
        asked = product, channel, Rollout(version, 0.0), now, patience
        shown = self.outcomes(*asked)
        assert shown.devices == self.tally(*asked).devices
        return shown.everybody


class Devices(OneByOne, devices.Devices):
    pass


class SharedDevices(OneByOne, PostgresDevices):
    pass


Open = Callable[..., AbstractContextManager[OneByOne]]
"""Opens the devices of one store, of `limit` at most."""


@pytest.fixture(params=BACKENDS)
def open_devices(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens the devices of a new store, kept by each backend in turn."""
    location = new_location(request.param, tmp_path)
    if request.param == "files":
        return lambda limit=MAX_DEVICES: Devices(tmp_path / "d", limit)
    return lambda limit=MAX_DEVICES: shared(location, limit)


@contextlib.contextmanager
def shared(location: str, limit: int = MAX_DEVICES) -> Iterator[SharedDevices]:
    """Open the devices in a database."""
    with Database(location, "test") as database:
        database.open(create=True)
        devices = SharedDevices(database, limit)
        devices.load()
        yield devices
