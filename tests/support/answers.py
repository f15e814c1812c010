"""Servers that give one answer, right or wrong, over TLS or without: what no real server can be made to say."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from support.servers import World

SECONDS = 60
HEAD = b"HTTP/1.0 200 OK\r\n"


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Answer each connection with `serve`; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(SECONDS)
                    serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(SECONDS)
            assert not thread.is_alive()


def context(world: World, **options: object) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
    for name, value in options.items():
        setattr(made, name, value)
    return made


def answering(world: World, answer: bytes, **options: object) -> contextlib.AbstractContextManager[int]:
    """Serve these bytes over TLS to whoever asks, and close."""
    settings = context(world, **options)

    def serve(raw: socket.socket) -> None:
        with settings.wrap_socket(raw, server_side=True) as connection:
            connection.recv(4096)
            connection.sendall(answer)
            with contextlib.suppress(OSError):
                connection.unwrap()

    return listening(serve)


def body(data: bytes, *lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in (b"Content-Length: %d" % len(data), *lines)) + b"\r\n" + data
