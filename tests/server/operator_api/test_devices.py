"""What devices are answered over real TLS: the bytes of ESP8266httpUpdate, curl, and requests that are none."""

from __future__ import annotations

import hashlib
import json
import socket
import urllib.error
import urllib.request

import pytest

from support.servers import (
    SECONDS,
    Reply,
    Running,
    StartServer,
    World,
    as_device,
    devices_seen,
    get,
    metrics,
    operator,
    parse_reply,
    publish,
    start,
    talk,
    until,
)

OTHER_MAC = "5C:CF:7F:00:00:01"


def ask(server: Running, request: bytes) -> Reply:
    return talk(server.world.context(), server.port, request)


def test_a_chip_gets_the_release_once_and_then_304(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    publish(server, "1.1", new.signed)
    path = "/blink/firmware.bin.signed"
    reply = ask(server, as_device(path, old))
    assert reply.status == 200
    assert reply.body == new.signed
    assert reply.headers["content-length"] == str(len(new.signed))
    assert reply.headers["x-md5"] == hashlib.md5(new.signed).hexdigest()
    assert "transfer-encoding" not in reply.headers
    assert reply.headers["connection"] == "close"
    done = ask(server, as_device(path, new))
    assert (done.status, done.body) == (304, b"")
    assert done.headers["x-otaseal-reason"] == "current"
    (known,) = operator(server).get("/v1/products/blink/devices")["devices"]
    assert (known["device"], known["running"], known["md5"]) == ("mac:5C:CF:7F:F0:04:CB", "1.1", new.md5)
    assert known["confirmed_at"] is not None


@pytest.mark.parametrize(
    "path", ["/firmware.bin.signed", "/blink/firmware.bin.signed", "/blink/stable/firmware.bin.signed"]
)
def test_every_url_of_the_only_product_leads_to_it(released: Running, path: str) -> None:
    firmware = released.world.firmware(1)
    assert ask(released, get(path)).body == firmware.signed
    head = ask(released, get(path, method="HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(firmware.signed))


def test_two_products_need_their_names(world: World, start_server: StartServer) -> None:
    server = start_server("--product", f"lamp={world.folder / 'signing.pub'}")
    publish(server, "1.0", world.firmware(1).signed)
    assert ask(server, get("/firmware.bin.signed")).status == 404
    assert ask(server, get("/blink/firmware.bin.signed")).status == 200
    assert ask(server, get("/lamp/firmware.bin.signed")).status == 404


def test_a_loop_is_broken_and_called(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.1", new.signed, max_failed=100)  # else it halts by itself
    request = as_device("/blink/firmware.bin.signed", old)
    got = []
    for _ in range(5):
        got.append(ask(server, request).status)
        operator(server).get("/v1/products/blink/devices")  # what was delivered is written before it is listed
    assert got == [200, 200, 200, 304, 304]
    assert ask(server, as_device("/blink/firmware.bin.signed", old, OTHER_MAC)).status == 200
    until(lambda: server.log.read_text().count("code=loop") == 2, "no alarm")
    assert 'otaseal_alarms_total{kind="device"} 2' in metrics(server)


def test_a_download_that_breaks_off_is_no_delivery(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2, size=2_000_000)
    publish(server, "1.1", new.signed)
    for _ in range(4):
        with (
            socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw,
            server.world.context().wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(as_device("/blink/firmware.bin.signed", old))
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert ask(server, as_device("/blink/firmware.bin.signed", old)).body == new.signed


def test_the_last_part_of_a_download_is_a_delivery(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.1", new.signed)
    asked = as_device("/blink/firmware.bin.signed", old).removesuffix(b"\r\n")
    for first, last in ((0, 99), (100, len(new.signed) - 2), (100, "")):
        part = ask(server, asked + f"Range: bytes={first}-{last}\r\n\r\n".encode())
        assert part.status == 206
    until(lambda: devices_seen(server)[0]["deliveries"] > 0, "the delivery was lost")
    assert devices_seen(server)[0]["deliveries"] == 1


def test_parts_of_a_firmware(released: Running) -> None:
    signed = released.world.firmware(1).signed
    size = len(signed)

    def part(ranges: str, *lines: str) -> Reply:
        return ask(released, get("/firmware.bin.signed", f"Range: {ranges}", *lines))

    for ranges, first, last in (
        ("bytes=0-99", 0, 99),
        ("bytes=1000-", 1000, size - 1),
        ("bytes=-7", size - 7, size - 1),
    ):
        reply = part(ranges)
        assert (reply.status, reply.body) == (206, signed[first : last + 1])
        assert reply.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert "x-md5" not in reply.headers, "it would be over other bytes than those sent (F29)"
    refused = part(f"bytes={size}-")
    assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{size}")
    for odd in ("bytes=9-5", "bytes=0-1,5-6", "lines=0-5", "bytes=-", "bytes=a-b", "bytes=" + "9" * 50 + "-"):
        assert part(odd).body == signed
    assert part("bytes=0-9", 'If-Range: "other"').body == signed


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/firmware.bin.signed", method="POST"), 405),
        (get("/firmware.bin.signed", method="DELETE"), 405),
        (get("/firmware.bin"), 404),
        (get("/../../etc/passwd"), 404),
        (get("/%2e%2e/%2e%2e/store.json"), 404),
        (get("/blink/..%2f..%2fstore.json"), 404),
        (get("/blink/nothing/firmware.bin.signed"), 404),
        (get("/" + "a" * 5000 + "/firmware.bin.signed"), 404),
        (get("/firmware.bin.signed", "Content-Length: 5") + b"hello", 413),
        (get("/firmware.bin.signed", "x-ESP8266-STA-MAC: none"), 400),
        (get("/firmware.bin.signed", "x-ESP8266-mode: sketch", "x-ESP32-mode: sketch"), 400),
        (get("/firmware.bin.signed", "A: " + "b" * 20_000), 400),
        (get("/firmware.bin.signed", *[f"A{n}: {'b' * 500}" for n in range(60)]), 400),
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.0\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.0\r\n\r\n", 405),
    ],
)
def test_what_is_no_update_request_is_refused(released: Running, request_bytes: bytes, status: int) -> None:
    assert ask(released, request_bytes).status == status


def test_a_damaged_blob_is_503_and_an_alarm_and_never_bytes(server: Running) -> None:
    firmware, other = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", firmware.signed)
    digest = hashlib.sha256(other.signed).hexdigest()
    publish(server, "1.1", other.signed)
    assert server.stop() == 0
    (blob,) = server.store.glob(f"blobs/sha256/*/{digest}")
    blob.write_bytes(other.signed[:-1] + b"\xff")
    again = start(server.world, server.store)
    try:
        reply = ask(again, get("/firmware.bin.signed"))
        assert reply.status == 503
        assert other.signed[:100] not in reply.body
        until(lambda: "device alarm=True" in again.log.read_text() and "code=corrupt" in again.log.read_text(), "alarm")
    finally:
        again.end()


def test_kept_connections_and_http_1_1(released: Running) -> None:
    signed = released.world.firmware(1).signed
    request = get("/firmware.bin.signed", version="1.1")
    with (
        socket.create_connection(("127.0.0.1", released.port), SECONDS) as raw,
        released.world.context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        for _ in range(3):
            connection.sendall(request)
            received = b""
            while len(received) < len(signed) or not received.endswith(signed[-50:]):
                received += connection.recv(65536)
            assert parse_reply(received).body == signed


def test_the_log_as_json_and_without_secrets(start_server: StartServer) -> None:
    server = start_server("--log-json")
    publish(server, "1.0", server.world.firmware(1).signed)
    ask(server, get("/firmware.bin.signed\x7f", "x-ESP8266-version: a\x1b[2Jb"))
    ask(server, as_device("/firmware.bin.signed", server.world.firmware(2), version="caf\u00e9 = 1"))
    assert server.stop() == 0
    events = [json.loads(line) for line in server.lines()]
    assert {"certificate", "publish", "device"} <= {one["event"] for one in events}
    assert server.token not in server.log.read_text()
    assert "\x1b" not in server.log.read_text()


def test_metrics_need_a_token(bare: Running) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{bare.url}/metrics", context=bare.world.context(), timeout=SECONDS)
    with urllib.request.urlopen(f"{bare.url}/healthz", context=bare.world.context(), timeout=SECONDS) as response:
        assert json.loads(response.read()) == {"status": "ok"}
