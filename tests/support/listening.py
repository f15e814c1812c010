"""A port on loopback whose connections are taken one after the other, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TypeVar

SECONDS = 60
L = TypeVar("L", bound="Listening")


class Listening:
    """Listens as long as a `with` statement lasts; a subclass says what becomes of a connection."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self: L) -> L:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(SECONDS)

    def take(self, connection: socket.socket) -> None:
        """Do what there is to be done with a connection, which is closed then; an OSError ends it."""
        raise NotImplementedError

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(SECONDS)
            with connection, contextlib.suppress(OSError):
                self.take(connection)
