"""Requests that are far too large, too deep or too many of something: a clear refusal, and no memory for them."""

from __future__ import annotations

import gzip
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otaseal.image import gzip_payload, signed_image
from otaseal.server.operator_api.uploads import MAX_JSON, MAX_UPLOAD
from support.images import Signer, build_image
from support.operator_requests import error
from support.servers import SECONDS, Reply, Running, get, operator, parse_reply, publish, talk

MIB = 1024
GROWTH = 64 * MIB  # KiB: an upload of 8 MiB is copied, hashed and unpacked; the bombs are of a quarter GiB
UPLOAD = "/v1/products/blink/releases/9.9?created=2030-01-01T00:00:00Z"
PROMOTE = "/v1/products/blink/channels/stable/promote"


def peak(server: Running) -> int:
    """Return the most memory that the server has held since `forget_peak`, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return int(found[1])


def forget_peak(server: Running) -> None:
    """Let the most that was held be what is held now (proc(5), clear_refs), where the kernel can do that."""
    with suppress(OSError):
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


@pytest.fixture
def bounded(released: Running) -> Iterator[Running]:
    """Return a server that has a release, and fail if it needs much more memory than it held before."""
    forget_peak(released)
    before = peak(released)
    yield released
    assert released.process.poll() is None
    assert peak(released) - before < GROWTH, f"{before} KiB, then {peak(released)} KiB"
    assert talk(released.world.context(), released.port, get("/firmware.bin.signed")).status == 200


def ask(server: Running, method: str, path: str, body: bytes = b"", *lines: str) -> Reply:
    lines = lines or (f"Content-Length: {len(body)}", "Content-Type: application/json")
    head = get(path, f"Authorization: Bearer {server.token}", *lines, method=method)
    return talk(server.world.context(), server.operators, head + body)


def member(size: int, *, claims: int | None = None) -> bytes:
    """Return a gzip of `size` zeros, made without holding them, whose trailer says `claims`."""
    packer, checksum, pieces = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), 0, []
    zeros = bytes(MIB * 1024)
    for start in range(0, size, len(zeros)):
        piece = zeros[: size - start]
        checksum = zlib.crc32(piece, checksum)
        pieces.append(packer.compress(piece))
    trailer = checksum.to_bytes(4, "little") + (size if claims is None else claims).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + b"".join(pieces) + packer.flush() + trailer


def sealed(server: Running, payload: bytes) -> bytes:
    """Return the payload with a good signature, by the key that the server trusts."""
    key = server.world.key
    payload += bytes(-len(payload) % 4)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return payload + key.sign(payload, padding.PKCS1v15(), hashes.SHA256()) + (256).to_bytes(4, "little")


GZIP_BOMBS: dict[str, Callable[[], bytes]] = {
    "a quarter GiB of zeros": lambda: member(2**28),
    "a quarter GiB of zeros that claim to be 400 KiB": lambda: member(2**28, claims=400 * 1024),
    "a gzip of a gzip of a quarter GiB": lambda: gzip.compress(member(2**28), mtime=0),
    "an image with a bomb behind it": lambda: gzip.compress(build_image(seed=3), mtime=0) + member(2**28),
}


@pytest.mark.proof
@pytest.mark.parametrize("bomb", GZIP_BOMBS)
def test_signed_gzip_bombs_are_not_unpacked(bounded: Running, bomb: str) -> None:
    body = sealed(bounded, GZIP_BOMBS[bomb]())
    assert len(body) < MAX_UPLOAD
    status, message = error(ask(bounded, "PUT", UPLOAD, body))
    assert status == 422, message


def test_a_gzip_that_is_no_bomb_is_taken(server: Running) -> None:
    raw = build_image(seed=5, code_size=20_000)
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "2.0", signed_image.sign(gzip_payload.compress(raw), Signer(server.world.key)))


def test_a_content_encoding_is_not_undone(bounded: Running) -> None:
    body = gzip.compress(b'{"from": "stable"}', mtime=0)
    lines = (f"Content-Length: {len(body)}", "Content-Type: application/json", "Content-Encoding: gzip")
    assert error(ask(bounded, "POST", PROMOTE, body, *lines)) == (400, "the body is not JSON")


@pytest.mark.parametrize(
    ("lengths", "status"),
    [
        (["Content-Length: 99999999999999"], 413),
        (["Content-Length: 18446744073709551615"], 413),
        (["Content-Length: 18446744073709551616"], 400),
        (["Content-Length: " + "9" * 5000], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: +5"], 400),
        (["Content-Length: 0x10"], 400),
        (["Content-Length: 5", "Content-Length: 50"], 400),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: chunked"], 411),
        (["X-Otaseal-Parts: 5"], 411),
    ],
)
def test_lengths_of_uploads(bounded: Running, lengths: list[str], status: int) -> None:
    reply = ask(bounded, "PUT", UPLOAD, b"", *lengths)
    assert reply.status == status, reply


@pytest.mark.parametrize(
    "parts",
    ["", ",", "5,", "5,5,5", "-1,11", "9999999999", "1e1", "10" + "0" * 5000, "\u0661", "0," * 32 + "10"],
)
def test_sizes_of_parts(bounded: Running, parts: str) -> None:
    head = get(UPLOAD, f"Authorization: Bearer {bounded.token}", "Content-Length: 10", method="PUT")
    head = head[:-2] + f"X-Otaseal-Parts: {parts}\r\n\r\n".encode()
    reply = talk(bounded.world.context(), bounded.operators, head + b"0123456789")
    assert reply.status == 400, reply


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 60_000, 400),
        (b'{"from":' * 8_000, 400),
        (b'{"percent": 1' + b"0" * 60_000 + b"}", 400),
        (b'{"from": "' + b"a" * 60_000 + b'"}', 422),
        (b'{"from": "stable"}' + b" " * MAX_JSON, 413),
        (b"{" + b",".join(b'"k%d": 1' % n for n in range(5000)) + b"}", 400),
        (b'{"from": "\xff\xfe"}', 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"NaN", 400),
        (b'{"from": "stable", "percent": NaN}', 400),
    ],
)
def test_json_bombs(bounded: Running, body: bytes, status: int) -> None:
    code, message = error(ask(bounded, "POST", PROMOTE, body))
    assert code == status, message
    assert len(message) < 200


HEADS: dict[str, tuple[bytes, set[int]]] = {
    "many headers": (get("/firmware.bin.signed", *[f"A{n}: b" for n in range(3000)]), {400}),
    "a hundred headers": (get("/firmware.bin.signed", *[f"A{n}: b" for n in range(100)]), {400}),
    "a long header": (get("/firmware.bin.signed", "A: " + "b" * 10_000_000), {400}),
    "a long name": (get("/firmware.bin.signed", "A" * 10_000_000 + ": b"), {400}),
    "a long path": (get("/" + "a" * 10_000_000), {400}),
    "a long method": (get("/firmware.bin.signed", method="G" * 1_000_000), {400}),
    "a long query": (get("/firmware.bin.signed?" + "a" * 15_000), {200}),
    "a path that unfolds": (get("/" + "%2f" * 5000), {404}),
    "no end": (b"GET /firmware.bin.signed HTTP/1.0\r\nA: " + b"b" * 1_000_000, {400}),
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_that_are_too_large_for_devices(bounded: Running, head: str) -> None:
    data, statuses = HEADS[head]
    with connected(bounded, bounded.port) as send:
        reply = send(data)
    assert reply is None or reply.status in statuses, reply


@pytest.mark.parametrize("head", ["many headers", "a long header", "a long path", "a long name", "no end"])
def test_heads_that_are_too_large_for_operators(bounded: Running, head: str) -> None:
    with connected(bounded, bounded.operators) as send:
        reply = send(HEADS[head][0])
    assert reply is None or reply.status in (400, 404), reply


@contextmanager
def connected(server: Running, port: int) -> Iterator[Callable[[bytes], Reply | None]]:
    """Yield what sends as much as the server takes, and returns its answer; None if the server just ended."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as raw,
        server.world.context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):

        def send(data: bytes) -> Reply | None:
            received = b""
            try:
                for start in range(0, len(data), 16_384):
                    connection.sendall(data[start : start + 16_384])
            except OSError:
                pass  # it had enough, and its answer is in the socket, or lost with the rest
            try:
                while piece := connection.recv(65536):
                    received += piece
            except OSError:
                pass
            return parse_reply(received) if received else None

        yield send


@pytest.mark.parametrize(
    "lines",
    [
        ["Transfer-Encoding: chunked"],
        ["Content-Length: 99999999999"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -5"],
    ],
)
def test_devices_send_no_bodies(bounded: Running, lines: list[str]) -> None:
    with connected(bounded, bounded.port) as send:
        reply = send(get("/firmware.bin.signed", *lines) + b"7fffffff\r\n" + bytes(3_000_000))
    assert reply is None or reply.status in (400, 413), reply


@pytest.mark.parametrize("ranges", ["0-0," * 2000 + "1-1", "0-", "-0", "0-18446744073709551616", "9" * 5000 + "-"])
def test_many_ranges_are_one_answer(bounded: Running, ranges: str) -> None:
    reply = talk(bounded.world.context(), bounded.port, get("/firmware.bin.signed", f"Range: bytes={ranges}"))
    assert reply.status in (200, 206, 416)
    assert len(reply.body) <= len(bounded.world.firmware(1).signed)


def test_a_release_of_every_size_up_to_the_limit_is_answered(bounded: Running) -> None:
    for size in (0, 1, 3, 4, 255, 260, MAX_UPLOAD // 2 + 1, MAX_UPLOAD):
        status, message = error(ask(bounded, "PUT", UPLOAD, bytes(size)))
        assert status == 422, message
    assert error(ask(bounded, "PUT", UPLOAD, b"", f"Content-Length: {MAX_UPLOAD + 1}"))[0] == 413
    assert len(operator(bounded).get("/v1/products/blink/releases")["releases"]) == 1
