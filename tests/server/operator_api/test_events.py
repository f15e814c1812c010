"""Hints of changes over real TLS, read by curl: to whom they go, and that they end with connection and server."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.store.backend import open_backend
from otaseal.store.tokens import TokenFile
from support import peers
from support.operator_requests import NOW, raw, refusal
from support.servers import SECONDS, Running, as_device, get, metrics, operator, publish, talk, until


@contextmanager
def curl(server: Running, path: str, token: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Read a stream with curl, which is told the token in a file."""
    config = f'header = "Authorization: Bearer {token or server.token}"'
    command = [peers.tool("curl", "curl"), "-sSN", "--cacert", str(server.world.ca), "-K", "-", server.url + path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(config)
    process.stdin.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def hints(process: subprocess.Popen[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    assert process.stdout is not None
    kind = ""
    for line in process.stdout:
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def begun(process: subprocess.Popen[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the hints once the stream has begun: the first line is an empty comment."""
    assert process.stdout is not None
    assert process.stdout.readline() == ":\n"
    return hints(process)


def test_what_changes_is_told_at_once_and_only_that(server: Running) -> None:
    stable = {"product": "blink", "channel": "stable"}
    with curl(server, "/v1/events?product=blink") as process:
        told = begun(process)
        publish(server, "1.0", server.world.firmware(1).signed)
        first = [next(told), next(told)]
        assert sorted(kind for kind, _ in first) == ["channel", "releases"]
        assert ("channel", stable) in first
        publish(server, "2.0", server.world.firmware(2).signed, channel="beta")
        assert sorted(kind for kind, _ in (next(told), next(told))) == ["channel", "releases"]
        talk(server.world.context(), server.port, as_device("/blink/firmware.bin.signed", server.world.firmware(1)))
        assert next(told) == ("devices", {"product": "blink", "channel": ""})
        assert server.stop() == 0
        assert list(told) == [], "it ends with the server"
        assert process.wait(SECONDS) == 0


def test_a_token_of_a_product_hears_of_that_alone(bare: Running) -> None:
    with open_backend(str(bare.store)) as backend:
        _, token = TokenFile(backend.store.documents).issue("one", "blink", "*", 1, NOW)
    for path, status in (("", 403), ("?product=lamp", 403), ("?product=BLINK", 422)):
        lines = (f"Authorization: Bearer {token}",)
        assert refusal(raw(bare, get(f"/v1/events{path}", *lines)), status)
        assert refusal(raw(bare, get(f"/v1/alarms{path}", *lines)), status)
    assert refusal(raw(bare, get("/v1/events")), 401)
    assert refusal(raw(bare, get("/v1/events?product=lamp", f"Authorization: Bearer {bare.token}")), 404)
    with curl(bare, "/v1/events?product=blink", token) as process:
        begun(process)


def test_head_does_not_wait(bare: Running) -> None:
    reply = raw(bare, get("/v1/events", f"Authorization: Bearer {bare.token}", method="HEAD"))
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"].startswith("text/event-stream")


@pytest.mark.proof
def test_a_halt_is_an_alarm_until_another_release_is_given_out(server: Running) -> None:
    client = operator(server)
    publish(server, "1.0", server.world.firmware(1).signed)
    context, path = server.world.context(), "/blink/firmware.bin.signed"
    talk(context, server.port, as_device(path, server.world.firmware(1)))
    publish(server, "2.0", server.world.firmware(2).signed)
    with curl(server, "/v1/events?product=blink") as process:
        told = begun(process)
        for _ in range(2):  # it takes the release, and comes back without
            talk(context, server.port, as_device(path, server.world.firmware(1)))
        assert any(kind == "alarms" for kind, _ in told)
        (alarm,) = client.get("/v1/alarms?product=blink")["alarms"]
        assert (alarm["kind"], alarm["text"], alarm["channel"]) == (
            "halted",
            "the rollout of '2.0' is halted",
            "stable",
        )
        assert alarm["until"] is None
        assert client.get("/v1/products/blink/releases")["alarms"] == [alarm]
        client.post("/v1/products/blink/channels/stable/rollback", {})
        assert any(kind == "alarms" for kind, _ in told)
    (ended,) = client.get("/v1/alarms")["alarms"]
    assert ended["until"] >= ended["since"] == alarm["since"]
    assert client.get("/v1/products/blink/releases")["alarms"] == []


def test_a_connection_that_is_gone_listens_no_more(bare: Running) -> None:
    request = get("/v1/events", f"Authorization: Bearer {bare.token}")
    for _ in range(3):
        with (
            socket.create_connection(("127.0.0.1", bare.operators), SECONDS) as plain,
            bare.world.context().wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(request)
            assert connection.recv(1024).startswith(b"HTTP/1.1 200")
            assert "otaseal_listeners 1" in metrics(bare)
        until(lambda: "otaseal_listeners 0" in metrics(bare), "it listens still")
    with pytest.raises(InputError, match="'products' is not a parameter here"):
        operator(bare).get("/v1/events?products=blink")
