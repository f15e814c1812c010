"""A small web server for tests, over TLS or without, that says nothing of clients that go away."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Has the requests of a connection; a test says in a class of its own what is answered."""

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.context is not None:  # the handshake is for the connection's own thread
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, address: object) -> None:
        """Be quiet about clients that go away, as those do that do not trust the certificate."""


def tls_of(chain: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return the TLS of a server with the certificate `chain`, and its key, key.pem beside it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key or chain.with_name("key.pem"))
    return context


@contextmanager
def serving(handler: type[Handler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on a free port of this machine, and return that."""
    with _Server(("127.0.0.1", 0), handler) as server:
        server.context = context
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
