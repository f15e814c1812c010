"""Patches from a real server: made beside the event loop, for devices that say they take them, and for nobody else."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from pathlib import Path

import pytest

from otaseal.delta import applying, header
from otaseal.protocol.answers import PatchPair
from otaseal.protocol.decisions import PATCHES
from otaseal.release.records import Form
from otaseal.server import patches
from otaseal.server.catalog import Catalog
from otaseal.store.backend import CACHE, open_backend, open_new
from otaseal.store.check import check
from otaseal.store.store import Store
from support import postgresql
from support.command import process
from support.servers import (
    MAC,
    Firmware,
    Reply,
    Running,
    StartServer,
    World,
    as_device,
    metrics,
    operator,
    publish,
    start,
    talk,
    until,
)

pytest.importorskip("bsdiff4")
PATH = "/blink/firmware.bin.signed"
SAYS = f"X-Otaseal-Capabilities: 1 proof {PATCHES}"


@pytest.fixture(scope="module")
def releases(world: World) -> list[Firmware]:
    """Two builds of one program that differ in some bytes."""
    return [world.firmware(1, embedded=bytes([number]) * 20) for number in range(2)]


@pytest.fixture
def patching(start_server: StartServer, releases: list[Firmware]) -> Running:
    """Return a server that has both builds as 1.0 and 1.1, and the patch from one to the other."""
    server = start_server()
    for version, firmware in zip(("1.0", "1.1"), releases, strict=True):
        publish(server, version, firmware.signed)
    await_patch(server, releases[0])
    return server


def asking(firmware: Firmware, *more: str, mac: str = MAC, says: bool = True) -> bytes:
    lines = as_device(PATH, firmware, mac).decode().rstrip().split("\r\n") + [SAYS] * says
    return "\r\n".join([*lines, *more, "", ""]).encode()


def ask(server: Running, firmware: Firmware, *more: str, mac: str = MAC, says: bool = True) -> Reply:
    return talk(server.world.context(), server.port, asking(firmware, *more, mac=mac, says=says))


def await_patch(server: Running, firmware: Firmware, mac: str = "5C:CF:7F:00:00:99") -> Reply:
    """Ask for the first byte until it is a patch's; by another device, so that it counts for none."""
    found: list[Reply] = []

    def made() -> bool:
        found[:] = [ask(server, firmware, "Range: bytes=0-0", mac=mac)]
        return found[0].body == b"O"

    until(made, "no patch is made")
    return found[0]


def test_a_device_that_takes_patches_gets_one(
    start_server: StartServer, world: World, releases: list[Firmware]
) -> None:
    old, new = releases[:2]
    server = start_server()
    publish(server, "1.0", old.signed)
    assert ask(server, old).status == 304
    publish(server, "1.1", new.signed)
    await_patch(server, old)
    reply = ask(server, old)
    assert (reply.status, reply.headers["x-otaseal-version"]) == (200, "1.1")
    assert header.is_patch(reply.body)
    assert len(reply.body) < len(new.signed) // 20
    assert applying.apply(old.raw[: header.parse(reply.body).base_size], reply.body) == new.signed
    assert reply.headers["x-md5"] == hashlib.md5(reply.body).hexdigest()
    assert reply.headers["etag"] == f'"{hashlib.sha256(reply.body).hexdigest()}"'
    server.logs("reason", "1.0 to 1.1", "as a patch")
    until(lambda: 'otaseal_deliveries_total{form="patch"} 1' in metrics(server), "the delivery is not counted")
    listed = operator(server).get("/v1/products/blink/releases")["patches"]
    assert listed == [{"before": "1.0", "version": "1.1", "board": None, "size": len(reply.body)}]


@pytest.mark.proof
def test_an_operator_sees_what_devices_run_made_ready(
    start_server: StartServer, releases: list[Firmware], tmp_path: Path
) -> None:
    old, new = releases
    server = start_server()
    publish(server, "1.0", old.signed)
    assert ask(server, old, says=False).status == 304
    publish(server, "1.1", new.signed)
    path = "/v1/products/blink/releases"
    until(lambda: bool(operator(server).get(path)["patches"]), "nothing is made before a device asks for it")
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_TOKEN": server.token}
    environment["OTASEAL_SERVER_CA"] = str(server.world.ca)
    shown = process("releases", cwd=tmp_path, **environment).succeeded()
    (line,) = [line for line in shown.out.splitlines() if "from 1.0" in line]
    assert re.fullmatch(r"  from 1\.0  patch \d+ bytes, [\d.]+ % of the image", line)


def test_it_is_resumed_by_its_own_tag(patching: Running, releases: list[Firmware]) -> None:
    server, (old, _) = patching, releases
    first = await_patch(server, old)
    size, tag = int(first.headers["content-range"].partition("/")[2]), first.headers["etag"]
    rest = ask(server, old, f"Range: bytes={size - 10}-", f"If-Range: {tag}")
    assert (rest.status, len(rest.body)) == (206, 10)
    other = ask(server, old, f"Range: bytes={size - 10}-", 'If-Range: "another"', mac="5C:CF:7F:00:00:01")
    assert (other.status, len(other.body)) == (200, size)


def test_nobody_else_gets_one(patching: Running, world: World, releases: list[Firmware]) -> None:
    server, (old, new) = patching, releases
    assert ask(server, old, says=False).body == new.signed
    stranger = world.firmware(7)
    assert ask(server, stranger, mac="5C:CF:7F:00:00:02").body == new.signed, "its MD5 is that of no release"
    plain = f"GET {PATH} HTTP/1.0\r\nHost: localhost\r\n{SAYS}\r\n\r\n".encode()
    assert talk(world.context(), server.port, plain).body == new.signed


def test_after_one_that_came_to_nothing_it_is_the_whole_image(patching: Running, releases: list[Firmware]) -> None:
    server, (old, new) = patching, releases
    patch = ask(server, old)
    assert header.is_patch(patch.body)
    tag = patch.headers["etag"]

    def whole() -> bool:
        return ask(server, old, "Range: bytes=0-1").body == new.signed[:2]

    until(whole, "the patch is given again")
    rest = ask(server, old, "Range: bytes=4-", f"If-Range: {tag}")
    assert (rest.status, rest.body) == (206, patch.body[4:]), "the link broke when it had all been acknowledged"
    assert ask(server, old).body == new.signed


def test_a_restart_keeps_them_but_not_those_that_are_damaged(
    patching: Running, start_server: StartServer, releases: list[Firmware]
) -> None:
    old, new = releases
    patching.stop()
    (kept,) = (patching.store / CACHE).iterdir()
    again = start_server()
    assert header.is_patch(ask(again, old).body), "at once"
    again.stop()
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    os.utime(kept, (1, 1))
    third = start_server()
    assert ask(third, old, mac="5C:CF:7F:00:00:04").body == new.signed, "it is not there any more"
    await_patch(third, old)
    patch = ask(third, old, mac="5C:CF:7F:00:00:05").body
    assert applying.apply(old.raw[: header.parse(patch).base_size], patch) == new.signed


def test_the_store_is_whole_without_them(patching: Running) -> None:
    with open_backend(str(patching.store)) as backend:
        report = check(backend.store)
    assert report.whole
    assert not report.orphans


def test_a_base_that_is_no_image_gives_none(pair: tuple[Catalog, PatchPair]) -> None:
    catalog, wanted = pair
    with catalog.store.documents.change() as change:
        change.put_blob(digest := hashlib.sha256(b"no image").hexdigest(), b"no image")
    told: list[str] = []
    with contextlib.closing(patches.Patches(catalog, None, told.append)) as found:
        assert found.find(wanted._replace(base=digest)) is None
        until(lambda: bool(told), "it is not told")
        assert found.find(wanted._replace(base=digest)) is None
    assert "is no firmware" in told[0] or "not" in told[0], told


@pytest.fixture
def pair(tmp_path: Path, releases: list[Firmware]) -> tuple[Catalog, PatchPair]:
    """Return a store that has both files of a patch, and what it is made of."""
    store = Store.create(tmp_path / "store")
    base, target = (hashlib.sha256(firmware.signed).hexdigest() for firmware in releases[:2])
    with store.documents.change() as change:
        change.put_blob(base, releases[0].signed)
        change.put_blob(target, releases[1].signed)
    return Catalog(store), PatchPair(releases[0].md5, base, Form("raw", target, len(releases[1].signed), "", 0))


def test_one_that_would_be_no_smaller_is_none(pair: tuple[Catalog, PatchPair], tmp_path: Path) -> None:
    catalog, whole = pair
    small = whole._replace(base_md5="0" * 32, target=dataclasses.replace(whole.target, size=50))
    with contextlib.closing(patches.Patches(catalog, tmp_path / "kept", print)) as found:
        assert found.find(small) is None
        until(lambda: found.find(whole) is not None, "no patch is made")  # one after the other: the first was tried
        assert found.find(small) is None
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_one_that_takes_too_long_is_told_of_once(
    pair: tuple[Catalog, PatchPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, wanted = pair
    monkeypatch.setattr(patches, "SECONDS", 0.001)
    told: list[str] = []
    with contextlib.closing(patches.Patches(catalog, None, told.append)) as found:
        assert found.find(wanted) is None
        until(lambda: bool(told), "it is not ended")
        assert found.find(wanted) is None
    (line,) = told
    assert line.endswith("took longer than 0 s: it is not offered")


@pytest.mark.proof
def test_two_servers_on_a_database_make_their_own(world: World, releases: list[Firmware], tmp_path: Path) -> None:
    cluster = postgresql.Cluster.create(**postgresql.FAST)
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.remove)
        url = cluster.database()
        open_new(url).close()
        kept = tmp_path / "cache"
        kept.mkdir()
        first = start(world, tmp_path / "a", location=url, environment={"CACHE_DIRECTORY": str(kept)})
        stack.callback(first.end)
        second = start(world, tmp_path / "b", location=url, token=first.token)
        stack.callback(second.end)
        old, new = releases
        publish(first, "1.0", old.signed)
        assert ask(second, old).status == 304
        publish(first, "1.1", new.signed)
        for server in (first, second):
            await_patch(server, old)
        assert len(list(kept.glob("*.patch"))) == 1
        assert ask(second, old).body == ask(first, old, mac="5C:CF:7F:00:00:06").body
