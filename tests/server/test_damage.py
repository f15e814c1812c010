"""A store of which something is damaged: who needs that is refused, everybody else is served, and it is called out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError, SystemFaultError
from support.command import process
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_damaged_record_that_no_device_is_given_hurts_nobody(server: Running, workers: str) -> None:
    release_three(server)
    assert server.stop() == 0
    whole = record(server, "0.9").read_bytes()
    record(server, "0.9").write_bytes(whole[:-20])
    again = start(server.world, server.store, "--workers", workers)
    try:
        old, new = server.world.firmware(0), server.world.firmware(1)
        context = again.world.context()
        assert (status(again, STABLE), status(again, BETA)) == (200, 200)
        assert talk(context, again.port, as_device(STABLE, old)).body == new.signed
        assert talk(context, again.port, as_device(STABLE, new)).status == 304
        until(lambda: health(again)["status"] == "problems", "not at /healthz")
        assert all("'0.9'" in one for one in health(again)["problems"])
        until(lambda: "store alarm=True" in again.log.read_text(), "not in the log")
        assert "release '0.9' of 'blink'" in again.log.read_text()
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
        assert "channel 'beta' of 'blink' is gone" in again.log.read_text()
    finally:
        again.end()
