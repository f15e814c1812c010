"""The devices as operators see them: a page at a time, by channel, state and version; forgotten, or tried again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from otaseal.errors import InputError
from otaseal.server.operator_api.parameters import MAX_DEVICES
from otaseal.store.device_rows import Sighting
from otaseal.store.devices import Devices
from otaseal.store.documents import AUDIT
from otaseal.store.files import DEVICES_FILE
from support.command import Result, process
from support.servers import MAC, Running, StartServer, as_device, operator, publish, talk, until

PATH = "/v1/products/blink/devices"
COUNT = 2 * MAX_DEVICES + 7
NAME = f"mac:{MAC}"


def listed(server: Running, **query: object) -> dict[str, object]:
    answer: dict[str, object] = operator(server).get(f"{PATH}?{urlencode(query)}")
    return answer


def command(server: Running, *arguments: str, token: str | None = None) -> Result:
    folder = server.store.parent
    (folder / "token").write_text(token or server.token)
    (folder / "token").chmod(0o600)
    where = ("--server", server.url, "--product", "blink", "--ca", str(server.world.ca), "--token-file", "token")
    return process("devices", *arguments, *where, cwd=folder)


def poll(server: Running, seed: int = 1) -> int:
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(seed))
    return talk(server.world.context(), server.port, request).status


def break_a_loop(server: Running) -> None:
    """Let a device ask until it is given nothing more, and all of that is written."""
    until(lambda: poll(server) == 304, "no loop is broken")
    until(lambda: bool(listed(server, state="looping")["devices"]), "deliveries were lost")
    assert "times in vain, and is given once an hour" in command(server).succeeded().out


@pytest.fixture(scope="module")
def crowd(shared_server: StartServer) -> Running:
    """A server that has seen more devices than two answers list; every tenth says that it runs 0.9, in beta."""
    server = shared_server()
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "1.0b", server.world.firmware(2).signed, channel="beta")
    first = Sighting("blink", "stable", "", server.world.firmware(1).md5)
    with Devices(server.store / DEVICES_FILE) as devices, devices.batch() as rows:
        for number in range(COUNT):
            claim = replace(first, device=f"mac:{number:05}")
            old = replace(claim, channel="beta", md5="0" * 32, version="0.9")
            rows.see(old if number % 10 == 0 else claim, time.time())
    return server


def test_pages_are_in_order_and_end(crowd: Running) -> None:
    names, after, sizes = [], "", []
    while after is not None:
        page = listed(crowd, after=after)
        sizes.append(len(page["devices"]))  # type: ignore[arg-type]
        names += [device["device"] for device in page["devices"]]  # type: ignore[attr-defined]
        after = page["next"]  # type: ignore[assignment]
    assert names == [f"mac:{number:05}" for number in range(COUNT)]
    assert sizes == [MAX_DEVICES, MAX_DEVICES, 7]
    last = listed(crowd, limit=7, after=names[-8])
    assert (len(last["devices"]), last["next"]) == (7, None)  # type: ignore[arg-type]


def test_filters_are_the_servers(crowd: Running) -> None:
    for query, count in (
        ({"channel": "beta"}, COUNT // 10 + 1),
        ({"version": "0.9"}, COUNT // 10 + 1),
        ({"version": "1.0"}, None),
        ({"version": "1.0", "channel": "beta"}, 0),
        ({"state": "seen", "channel": "beta"}, COUNT // 10 + 1),
        ({"state": "looping"}, 0),
    ):
        found = listed(crowd, **query)
        assert len(found["devices"]) == (MAX_DEVICES if count is None else count)  # type: ignore[arg-type]
        for name, value in query.items():
            key = {"version": "running"}.get(name, name)
            assert {device[key] for device in found["devices"]} <= {value}  # type: ignore[attr-defined]


def test_the_command_follows_the_pages(crowd: Running) -> None:
    out = command(crowd).succeeded().out.splitlines()
    assert sum(line.startswith("mac:") for line in out) == COUNT
    newcomers = f"devices  {COUNT} of them newcomers since the rollout began: what they say halts nothing"
    assert out[-2:] == [f"devices  {COUNT} seen", newcomers]
    assert len(command(crowd, "--json").succeeded().json["devices"]) == COUNT
    some = command(crowd, "--state", "seen", "--version", "0.9", "--limit", "3").succeeded().out.splitlines()
    assert [line.split("  ")[:2] for line in some[:3]] == [[f"mac:{n:05}", "runs 0.9"] for n in (0, 10, 20)]
    assert "no such device was seen yet" in command(crowd, "--state", "stuck").succeeded().out
    assert len(command(crowd, "--limit", str(MAX_DEVICES + 1), "--json").succeeded().json["devices"]) == MAX_DEVICES + 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": 0}, "limit '0' is not a valid number of devices"),
        ({"limit": MAX_DEVICES + 1}, f"limit '{MAX_DEVICES + 1}'"),
        ({"limit": "many"}, "limit 'many'"),
        ({"after": "x" * 129}, f"after '{'x' * 32}...' is no device's name"),
        ({"state": "lost"}, "state 'lost' is unknown"),
        ({"version": "a b"}, "a b"),
        ({"channel": "nowhere"}, "has no channel 'nowhere'"),
    ],
)
def test_filters_that_cannot_be_are_refused(crowd: Running, query: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        listed(crowd, **query)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("forget",), "no device to forget is named"),
        (("retry", NAME, "--state", "stuck"), "are for the list"),
        (("list", NAME), "is one device"),
        (("--limit", "0"), "'0' is not a valid number of devices"),
        (("--state", "lost"), "invalid choice: 'lost'"),
        (("forget", "mac:unknown"), "no device 'mac:unknown' of 'blink' was seen"),
    ],
)
def test_the_command_refuses(crowd: Running, arguments: tuple[str, ...], message: str) -> None:
    code = 1 if arguments[-1] == "mac:unknown" else 2
    command(crowd, *arguments).failed(code, message)


def events(server: Running, *names: str) -> list[dict[str, object]]:
    lines = map(json.loads, (server.store / AUDIT).read_text().splitlines())
    return [line for line in lines if line["event"] in names]


def test_a_device_in_a_loop_gets_its_release_again(start_server: StartServer) -> None:
    server = start_server()
    publish(server, "2.0", server.world.firmware(2).signed, max_failed=100)
    break_a_loop(server)
    assert "gets its release again" in command(server, "retry", MAC.lower()).succeeded().out
    assert poll(server) == 200
    break_a_loop(server)
    (line,) = events(server, "retry")
    assert (line["product"], line["channel"], line["device"]) == ("blink", "stable", NAME)
    assert str(line["by"]).startswith("token")


def test_one_device_is_shown_as_it_is_listed_or_by_its_address(start_server: StartServer) -> None:
    server = start_server()
    publish(server, "1.0", server.world.firmware(1).signed)
    with Devices(server.store / DEVICES_FILE) as devices, devices.batch() as rows:
        rows.see(Sighting("blink", "stable", f"cert:{MAC}", server.world.firmware(1).md5), time.time())
    for name in (f"cert:{MAC}", MAC.lower()):
        assert f"cert:{MAC}  runs 1.0" in command(server, "show", name).succeeded().out
    command(server, "show", "cert:kitchen").failed(1, "no device 'cert:kitchen' of 'blink' was seen")


def test_a_forgotten_device_is_a_new_one(start_server: StartServer) -> None:
    server = start_server()
    publish(server, "2.0", server.world.firmware(2).signed, max_failed=100)
    break_a_loop(server)
    assert command(server, "forget", NAME, "--json").succeeded().json["device"] == NAME
    assert listed(server)["devices"] == []
    assert poll(server) == 200
    assert [device["deliveries"] for device in listed(server)["devices"]] == [1]  # type: ignore[attr-defined]
    assert [line["device"] for line in events(server, "forget")] == [NAME]


def test_it_takes_the_right_to_the_devices_channel(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    publish(server, "1.0", server.world.firmware(1).signed)
    assert poll(server) == 304
    made = process(
        *("token", "new", "ci-beta", "--store", server.store, "--product", "blink", "--channel", "beta", "--json"),
        cwd=tmp_path,
    )
    token = made.succeeded().json["token"]
    for action in ("forget", "retry"):
        refused = command(server, action, NAME, token=token).failed(1, "is not for product 'blink', channel 'stable'")
        assert "token" in refused.err
    assert [device["device"] for device in listed(server)["devices"]] == [NAME]  # type: ignore[index, attr-defined]
    assert events(server, "forget", "retry") == []
    for body in ({}, {"device": ""}, {"device": 5}, {"device": "x" * 1000}):
        with pytest.raises(InputError, match="no device is named"):
            operator(server).post(f"{PATH}/forget", body)
