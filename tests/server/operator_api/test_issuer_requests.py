"""What is asked of an issuer ends, whatever its server does: bounded in bytes and in time, over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from otaseal.errors import SystemFaultError
from otaseal.server.operator_api import issuer_keys
from otaseal.server.operator_api.issuer_keys import fetch_keys
from otaseal.server.operator_api.issuer_requests import MAX_ANSWER, get_json
from support.listening import Listening
from support.servers import World

HEAD = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[], Iterator[bytes]]


class Slow(Listening):
    """A server that says piece by piece what it is to say, once it was asked."""

    def __init__(self, world: World, pieces: Answer) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
        self._pieces, self._over = pieces, threading.Event()
        self.asked = b""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        super().__exit__(*exception)

    def take(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as secured:
            self.asked = secured.recv(4096)
            for piece in self._pieces():
                if not piece and self._over.wait(0.01):
                    return
                secured.sendall(piece)


def dripping(text: bytes) -> Answer:
    """Say a byte now and then, without end."""

    def pieces() -> Iterator[bytes]:
        yield HEAD
        for number in itertools.count():
            yield b""
            yield text[number % len(text) :][:1]

    return pieces


SLOW: dict[str, Answer] = {
    "in its head": dripping(b"X-A: b\r\n"),
    "in one line of its head": dripping(b"a"),
    "in its body": lambda: itertools.chain([b"%sContent-Length: 9999\r\n\r\n" % HEAD], dripping(b" ")()),
    "after its head": lambda: itertools.chain([HEAD], itertools.repeat(b"")),
}


@pytest.mark.parametrize("where", SLOW)
def test_who_is_slow_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.4)
    with Slow(world, SLOW[where]) as server, pytest.raises(SystemFaultError, match=r"takes more than 0\.4 seconds"):
        fetch_keys(server.url, world.ca.read_text())


def test_who_says_nothing_in_the_handshake_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.2)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}"
        with pytest.raises(SystemFaultError, match=r"takes more than 0\.2 seconds"):
            fetch_keys(url, world.ca.read_text())


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
WRONG: dict[str, tuple[Answer, str]] = {
    "a head without end": (
        lambda: itertools.chain([HEAD], itertools.repeat(b"X-A: b\r\n" * 1024)),
        "more than",
    ),
    "a body without end": (
        lambda: itertools.chain([CHUNKED], itertools.repeat(b"1000\r\n%s\r\n" % (b" " * 4096))),
        f"more than {MAX_ANSWER} bytes",
    ),
    "tiny chunks without end": (
        lambda: itertools.chain([CHUNKED], itertools.repeat(b"1\r\n \r\n" * 1024)),
        f"more than {MAX_ANSWER} bytes",
    ),
    "no HTTP": (lambda: iter([b"SSH-2.0-OpenSSH\r\n\r\n"]), "it answers no HTTP"),
    "nothing": (lambda: iter([]), "answers 0"),
    "half a body": (lambda: iter([HEAD + b'Content-Length: 99\r\n\r\n{"issuer": ']), "no JSON"),
    "deep JSON": (lambda: iter([HEAD + b"\r\n" + b"[" * 200_000]), "no JSON"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_answer_is_refused(world: World, what: str) -> None:
    pieces, reason = WRONG[what]
    with Slow(world, pieces) as server, pytest.raises(SystemFaultError, match=reason):
        fetch_keys(server.url, world.ca.read_text())


def test_an_answer_in_chunks_is_read_and_the_request_is_one(world: World) -> None:
    context = ssl.create_default_context(cafile=str(world.ca))
    with Slow(world, lambda: iter([CHUNKED, b'5\r\n{"a":\r\n', b"2\r\n1}\r\n0\r\n\r\n"])) as server:
        assert asyncio.run(get_json(f"{server.url}/keys?of=ci#top", context)) == {"a": 1}
        assert server.asked.startswith(b"GET /keys?of=ci HTTP/1.1\r\nHost: localhost:%d\r\n" % server.port)


@pytest.mark.parametrize(
    "url",
    ["http://a.example", "ftp://a.example", "https://", "https://:443", "https://a.example:0", "https://a.example:99999",
     "https://a..example", "https://.example", f"https://{'a' * 64}.example", "https://a.example/\r\nX-A: b",
     "https://a.example/a b", "https://a.example/\u00e4", "https://[::1", "//a.example", "None"],
)  # fmt: skip
def test_what_is_no_address_is_not_asked(url: str) -> None:
    with pytest.raises(SystemFaultError, match="is no address with https"):
        asyncio.run(get_json(url, ssl.create_default_context()))
