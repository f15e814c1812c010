"""A store of which something is damaged: who needs that is refused, everybody else is served, and it is called out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError, SystemFaultError
from otaseal.protocol.running import known_images
from otaseal.release.channels import Pointer
from otaseal.release.records import Release
from otaseal.server.catalog import Catalog
from otaseal.store.documents import blob_name
from otaseal.store.store import Store
from support.command import process
from support.releases import make_release
from support.servers import Running, as_device, get, operator, publish, start, talk, until

STABLE, BETA = "/blink/stable/firmware.bin.signed", "/blink/beta/firmware.bin.signed"
CHANNELS = "/v1/products/blink/channels"


def status(server: Running, path: str) -> int:
    return talk(server.world.context(), server.port, get(path)).status


def health(server: Running) -> dict[str, Any]:
    reply = talk(server.world.context(), server.operators, get("/healthz"))
    assert reply.status == 200
    return dict(json.loads(reply.body))


def record(server: Running, version: str) -> Path:
    return server.store / "products" / "blink" / "releases" / f"{version}.json"


def release_three(server: Running) -> None:
    """Publish 0.9 and 1.0 in stable, and 2.0 in beta, which had 1.0 before."""
    for number, version in enumerate(("0.9", "1.0")):
        publish(server, version, server.world.firmware(number).signed)
    operator(server).post(f"{CHANNELS}/beta/promote", {"from": "stable"})
    publish(server, "2.0", server.world.firmware(2).signed, channel="beta")


def test_a_damaged_record_that_no_device_is_given_hurts_nobody(server: Running) -> None:
    release_three(server)
    assert server.stop() == 0
    whole = record(server, "0.9").read_bytes()
    record(server, "0.9").write_bytes(whole[:-20])
    again = start(server.world, server.store)
    try:
        old, new = server.world.firmware(0), server.world.firmware(1)
        context = again.world.context()
        assert (status(again, STABLE), status(again, BETA)) == (200, 200)
        assert talk(context, again.port, as_device(STABLE, old)).body == new.signed
        assert talk(context, again.port, as_device(STABLE, new)).status == 304
        until(lambda: health(again)["status"] == "problems", "not at /healthz")
        assert all("'0.9'" in one for one in health(again)["problems"])
        until(lambda: "store alarm=True" in again.log.read_text(), "not in the log")
        again.logs("release '0.9' of 'blink'")
        listed = operator(again).get("/v1/products/blink/releases")
        assert {one["version"] for one in listed["releases"]} == {"2.0", "1.0"}
        assert set(listed["channels"]) == {"stable", "beta"}
        assert [one[: one.index(":")] for one in listed["damaged"]] == ["release '0.9' of 'blink'"]
        publish(again, "1.1", server.world.firmware(3).signed)
        assert talk(context, again.port, as_device(STABLE, new)).body == server.world.firmware(3).signed
        found = process("store", "check", str(again.store), cwd=again.store.parent)
        assert "damaged: release '0.9' of 'blink'" in found.failed(1, "is not whole").out
    finally:
        again.end()


def test_a_channel_whose_own_release_is_damaged_is_alone_and_has_ways_out(server: Running) -> None:
    release_three(server)
    assert server.stop() == 0
    record(server, "2.0").write_bytes(b"{")
    again = start(server.world, server.store)
    try:
        assert (status(again, STABLE), status(again, BETA)) == (200, 503)
        until(lambda: "code=corrupt" in again.log.read_text(), "not in the log")
        assert any("release '2.0' of 'blink'" in one for one in health(again)["problems"])
        newer = server.world.firmware(4).signed
        with pytest.raises(InputError, match=r"release '2\.0', which channel 'beta' gives out, is damaged") as caught:
            publish(again, "2.1", newer, channel="beta")
        assert "otaseal rollback" in caught.value.hint
        publish(again, "2.1", newer, channel="beta", allow_downgrade=True)
        assert talk(again.world.context(), again.port, get(BETA)).body == newer
    finally:
        again.end()


def test_a_rollback_leads_out_of_a_damaged_release(server: Running) -> None:
    release_three(server)
    assert server.stop() == 0
    record(server, "2.0").unlink()
    again = start(server.world, server.store)
    try:
        assert status(again, BETA) == 503
        assert any("'2.0'" in one for one in health(again)["problems"])
        assert operator(again).post(f"{CHANNELS}/beta/rollback", {})["channel"]["version"] == "1.0"
        assert status(again, BETA) == 200
    finally:
        again.end()


def test_damaged_pointers_and_those_of_a_later_otaseal_are_alone(server: Running) -> None:
    release_three(server)
    beta = server.store / "products" / "blink" / "channels" / "beta.json"
    whole = beta.read_bytes()
    client = operator(server)
    for damaged, named in (
        (whole.replace(b'"generation":2', b'"generation":3'), "the pointer file is damaged"),
        (whole.replace(b'"format":2', b'"format":3'), "was made by a newer otaseal"),
    ):
        beta.write_bytes(damaged)
        until(lambda: status(server, BETA) == 503, "beta is believed")
        assert status(server, STABLE) == 200
        assert list(client.get("/v1/products/blink/releases")["channels"]) == ["stable"]
        assert any(named in one for one in health(server)["problems"])
        with pytest.raises(SystemFaultError, match=named):
            client.post(f"{CHANNELS}/beta/rollback", {})
        assert beta.read_bytes() == damaged
        assert client.post(f"{CHANNELS}/stable/percent", {"percent": 100})["channel"]["version"] == "1.0"
    beta.write_bytes(whole)
    until(lambda: status(server, BETA) == 200, "not found again")
    until(lambda: health(server) == {"status": "ok"}, "still a problem")


def test_a_pointer_that_is_gone_is_called_out_at_the_start(server: Running) -> None:
    release_three(server)
    assert server.stop() == 0
    (server.store / "products" / "blink" / "channels" / "beta.json").unlink()
    again = start(server.world, server.store)
    try:
        assert (status(again, STABLE), status(again, BETA)) == (200, 404)
        assert any("channel 'beta' of 'blink' is gone" in one for one in health(again)["problems"])
        again.logs("channel 'beta' of 'blink' is gone")
    finally:
        again.end()


def test_a_damaged_file_of_an_old_release_is_found_beside_serving(server: Running) -> None:
    release_three(server)
    (form,) = Store.open(server.store).release("blink", "0.9").forms
    assert server.stop() == 0
    (Store(server.store).directory / blob_name(form.blob)).write_bytes(b"damaged")
    again = start(server.world, server.store)
    try:
        assert (status(again, STABLE), status(again, BETA)) == (200, 200)
        until(lambda: f"blob '{form.blob}' is damaged" in health(again).get("problems", []), "not found")
        until(lambda: f"blob '{form.blob}' is damaged" in again.log.read_text(), "not in the log")
    finally:
        again.end()


class Counting(Store):
    """A store that counts what is read."""

    records = blobs = 0

    def release(self, product: str, version: str) -> Release:
        self.records += 1
        return super().release(product, version)

    def read_blob(self, digest: str) -> bytes:
        self.blobs += 1
        return super().read_blob(digest)


def test_a_record_is_read_once_and_only_what_devices_ask_for_is_hashed(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    for number in range(50):
        data = b"%d" % number
        made = make_release(f"1.{number}", data)
        store.publish(replace(made, sketch_md5=(f"{number:032x}",) * 4), [data])
    for number in range(49):
        store.point("blink", "stable", Pointer(f"1.{number}"), expected=number)
    counting = Counting(store.directory)
    catalog = Catalog(counting)
    catalog.warm()
    assert (counting.records, counting.blobs) == (50, 1)
    choice = catalog.choose("blink", None, None, None)
    assert choice.release is not None
    assert (choice.release.version, len(choice.known)) == ("1.48", 50)
    assert catalog.body(choice.release.forms[0].blob) == b"48"
    assert (counting.records, counting.blobs) == (50, 1), "the first device waits for nothing"
    store.point("blink", "stable", Pointer("1.49", 10, "salt"), expected=49)
    store.publish(make_release("2.0", b"2.0"), [b"2.0"])
    catalog.warm()
    assert (counting.records, counting.blobs) == (51, 2), "for a publication, what it brings"
    known = catalog.known("blink")
    assert {one.release.version for one in known.values()} == {f"1.{number}" for number in range(50)} | {"2.0"}
    (store.directory / "products/blink/releases/1.3.json").unlink()
    assert "1.3" not in {one.release.version for one in catalog.known("blink").values()}


def test_of_two_releases_with_one_image_the_first_made_is_known_in_any_order(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    catalog, image = Catalog(store), b"image"
    for version, second in (("2", 2), ("1", 1), ("3", 3)):
        store.publish(replace(make_release(version, image), created=f"2026-01-01T00:00:0{second}Z"), [image])
        catalog.known("blink")
    assert {one.release.version for one in catalog.known("blink").values()} == {"1"}
    assert catalog.known("blink") == known_images(catalog.releases("blink"))
