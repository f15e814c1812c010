"""Stores that an otaseal of before has made: everything that is done with a store works with them."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import pytest

from otaseal.pki.index import check_revoked, parse_index, serialize_index
from otaseal.store import prune
from otaseal.store.backend import FileBackend
from otaseal.store.check import check
from otaseal.store.device_rows import Sighting
from otaseal.store.documents import release_name
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support import kept
from support.command import Command, otaseal  # noqa: F401
from support.devices import Devices
from support.filled_store import content
from support.servers import World, get, start, talk

FORMATS = {"0.8": 2, "0.9": 1, "1.0": 2, "1.1": 2, "2.0": 3, "3.0": 4}
"""Of the records in the first of them."""


@pytest.fixture(params=kept.names("store"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kept.unpack(request.param, tmp_path)
    return tmp_path


def test_it_is_whole(place: Path, otaseal: Command) -> None:  # noqa: F811
    store = Store.open(place / "store")
    before = content(place)
    report = check(store)
    assert (report.whole, report.orphans, report.temporaries) == (True, (), ())
    assert (report.releases, report.channels, report.blobs) == (6, 3, 8)
    written = {
        version: json.loads((store.directory / release_name("blink", version)).read_bytes())["format"]
        for version in store.releases("blink")
    }
    assert written == FORMATS
    otaseal("store", "check", place / "store").succeeded()
    assert [token.name for token in TokenFile(store.directory).list()] == ["ci"]
    assert {name: data for name, data in content(place).items() if ".lock" not in name} == before


def test_what_an_otaseal_of_before_reads_is_written_as_before(place: Path) -> None:
    """Formats rise by an explicit upgrade alone, which there is none of yet."""
    store = Store.open(place / "store")
    for name in store.channels("blink"):
        state = store.current("blink", name)
        assert state is not None
        assert state.to_json() == (store.directory / f"products/blink/channels/{name}.json").read_bytes()
    archive = store.archive("blink", "stable")
    assert archive is not None
    assert archive.to_json() == (store.directory / "products/blink/certs/stable.json").read_bytes()
    Store.create(place / "new")
    assert (place / "new" / "store.json").read_bytes() == (store.directory / "store.json").read_bytes()
    index = (place / "authorities" / "index.json").read_bytes()
    assert serialize_index(parse_index(index)) == index
    check_revoked((place / "authorities" / "revoked.json").read_bytes())


def test_its_devices_are_known_and_counted(place: Path) -> None:
    with closing(Devices(place / "store" / "devices.sqlite")) as devices:
        rows = {row.device: row for row in devices.list("blink")}
        assert [row.deliveries for row in rows.values()] == [0, 3, 0, 0, 0]
        took = rows["5C:CF:7F:00:00:00"]
        assert (took.version, took.offered, took.counter, took.error) == ("1.1", "1.1", None, 0)
        assert took.confirmed_at is not None
        devices.check()
        with devices.batch() as changed:
            changed.see(Sighting("blink", "stable", "5C:CF:7F:00:00:09", "e" * 32), took.last_seen + 1)
        assert len(devices.list("blink")) == 6
        assert devices.counts("blink", "stable", "1.1", took.last_seen + 1, None).confirmed == 1


@pytest.mark.parametrize("source", ["made", "kept"])
def test_it_is_backed_up_and_restored(place: Path, otaseal: Command, source: str) -> None:  # noqa: F811
    backup = place / ("backup.tar" if source == "kept" else "new.tar")
    if source == "made":
        otaseal("store", "backup", place / "store", backup).succeeded()
        assert backup.read_bytes() == (place / "backup.tar").read_bytes(), "an otaseal of before restores it"
    otaseal("store", "restore", backup, place / "restored").succeeded()
    wanted = {name: data for name, data in content(place / "store").items() if name not in (".lock", "devices.sqlite")}
    assert {name: data for name, data in content(place / "restored").items() if name != ".lock"} == wanted


def test_what_nobody_needs_is_pruned(place: Path) -> None:
    store = Store.open(place / "store")
    pruned = prune.prune(FileBackend(store), 1)
    assert (pruned.releases, len(pruned.blobs), pruned.kept) == ((("blink", "0.8"),), 1, 5)
    report = check(store)
    assert (report.whole, report.orphans) == (True, ())


def test_it_is_served(place: Path, world: World) -> None:
    store = Store.open(place / "store")
    running = start(world, place / "store")
    try:
        for path, version, device in (("/lamp", "2.0", "esp32dev"), ("", "1.1", "nodemcuv2")):
            release = store.release("blink", version)
            assert release.board == device
            prefix = "ESP32" if release.chip == "esp32" else "ESP8266"
            mode = 0 if len(release.sketch_md5) == 1 else 2
            lines = (
                f"User-Agent: {prefix}-http-Update",
                f"x-{prefix}-STA-MAC: 5C:CF:7F:00:00:0A",
                f"x-{prefix}-sketch-md5: {release.sketch_md5[mode]}",
                f"x-{prefix}-sketch-size: {release.sketch_size}",
                f"x-{prefix}-free-space: {0x200000}",
                f"x-{prefix}-chip-size: {0x400000}",
                f"x-{prefix}-mode: sketch",
            )
            ask = get(f"/blink{path}/firmware.bin.signed", *lines)
            assert talk(world.context(), running.port, ask).status == 304, (path, version)
            if prefix == "ESP8266":
                old, new = store.release("blink", "0.9"), release.sketch_md5[mode]
                reply = talk(world.context(), running.port, ask.replace(new.encode(), old.sketch_md5[mode].encode()))
                offered = [store.release("blink", name).forms[0].blob for name in ("1.0", "1.1")]
                assert (reply.status, hashlib.sha256(reply.body).hexdigest() in offered) == (200, True)
        record = store.archive("blink", "stable")
        assert record is not None
        certs = talk(world.context(), running.port, get("/blink/certs.ar.signed", f"X-Otaseal-Certs: {'cd' * 32}"))
        assert (certs.status, hashlib.sha256(certs.body).hexdigest()) == (200, record.blob)
    finally:
        running.end()
    assert check(store).whole
