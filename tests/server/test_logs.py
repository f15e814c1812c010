"""The log: every line parses, and a secret is in none of them, wherever a client may have put it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from otaseal.server.telemetry import Telemetry
from support.servers import Running, StartServer, as_device, get, publish, talk


def put_everywhere(server: Running, secret: str) -> None:
    """Show the secret in each part of requests to either side."""
    context, firmware = server.world.context(), server.world.firmware(2)
    requests = [
        get(f"/{secret}/firmware.bin.signed"),
        get(f"/blink/{secret}/firmware.bin.signed"),
        get(f"/%6ftaseal_{secret[8:]}"),
        get(f"/firmware.bin.signed?token={secret}"),
        get("/firmware.bin.signed", f"Authorization: Bearer {secret}", f"Cookie: token={secret}"),
        get("/firmware.bin.signed", f"x-ESP8266-version: {secret}", "x-ESP8266-mode: sketch"),
        get("/firmware.bin.signed", f"x-ESP8266-mode: {secret}"),
        get("/firmware.bin.signed", f"x-ESP8266-{secret}: 1", f"{secret}: 1", f"Range: {secret}"),
        get("/firmware.bin.signed", f"User-Agent: {secret}", f"Referer: https://localhost/?{secret}"),
        get(f"http://{secret}@localhost/firmware.bin.signed"),
        as_device("/firmware.bin.signed", firmware, version=secret),
        f"{secret} / HTTP/1.0\r\n\r\n".encode(),
    ]
    for request in requests:
        talk(context, server.port, request)
    credentials = f"Authorization: Bearer {secret}"
    for path in (
        f"/{secret}",
        f"/v1/products/{secret}",
        f"/v1/products/blink?channel={secret}",
        f"/healthz?{secret}=1",
    ):
        talk(context, server.operators, get(path, credentials))
        talk(context, server.operators, get(path, f"Authorization: Basic {secret}", f"Cookie: {secret}"))
    for path in (f"releases/{secret}?created={secret}", f"releases/1?board={secret}", f"channels/{secret}/promote"):
        for method in ("PUT", "POST"):
            body = json.dumps({"version": secret, "from": secret}).encode()
            lines = (credentials, f"Content-Length: {len(body)}", "Content-Type: application/json")
            talk(context, server.operators, get(f"/v1/products/blink/{path}", *lines, method=method) + body)


@pytest.mark.parametrize("options", [["--log-json"], []])
def test_no_secret_is_in_it(start_server: StartServer, options: list[str]) -> None:
    server = start_server(*options)
    publish(server, "1.0", server.world.firmware(1).signed)
    put_everywhere(server, server.token)
    put_everywhere(server, server.token[:8] + server.token[8:][::-1])  # one that opens nothing
    assert server.stop() == 0
    log = server.log.read_text()
    assert log.count("otaseal_...") > 5, "they were there"
    for secret in (server.token, server.token[::-1]):
        for at in range(8, len(secret) - 12):
            assert secret[at : at + 12] not in log
    for pem in (server.world.chain.with_name("key.pem"), server.world.pki.directory / "server-ca" / "key.pem"):
        assert not any(line in log for line in pem.read_text().splitlines() if len(line) > 20)


def test_every_line_is_an_object_with_a_time(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--log-json")
    publish(server, "1.0", server.world.firmware(1).signed)
    context = server.world.context()
    for odd in (
        "a\x1b[2Jb",
        "caf\xe9",
        '"},{"x":"',
        "a=b c=d",
        "\x85\x9b31m",
        "%0a%0dx",
        "\u2028".encode().decode("latin-1"),
    ):
        talk(context, server.port, get("/firmware.bin.signed", f"x-ESP8266-version: {odd}"))
        talk(context, server.port, get(f"/{odd.encode('latin-1').hex('%')}"))
    assert server.stop() == 0
    raw = server.log.read_bytes()
    assert raw.isascii()
    assert not [byte for byte in raw if byte < 0x20 and byte != 0x0A]
    events = [json.loads(line) for line in raw.decode().splitlines()]
    assert {"certificate", "publish", "device", "stopping", "stopped"} <= {one["event"] for one in events}
    for one in events:
        assert datetime.fromisoformat(one["at"]).tzinfo is not None
        assert all(isinstance(value, str | int | float | bool) for value in one.values())


def test_a_token_that_was_cut_is_still_kept() -> None:
    said: list[object] = []
    telemetry = Telemetry(said.append)
    telemetry.event("device", path="/otaseal_" + "A" * 30, store="/var/lib/otaseal_production/store", count=3)
    assert said == [
        {"event": "device", "path": "/otaseal_...", "store": "/var/lib/otaseal_production/store", "count": 3}
    ]
