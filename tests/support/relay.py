"""A link to a server on loopback, which breaks where a test says; what came over it is counted."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Sequence

SECONDS = 60
PIECE = 2048


class Relay:
    """Hands connections on to `server`. One that brings `cuts[0]` bytes is broken, then the next number counts.

    `came` are the bytes that each connection has brought, `before_cut` is called before one is broken.
    """

    def __init__(self, server: int, cuts: Sequence[int], before_cut: Callable[[], object] = lambda: None) -> None:
        self.came: list[int] = []
        self.cuts = list(cuts)
        self._server, self._before_cut = server, before_cut
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                device, _ = self._listening.accept()
            except OSError:
                return
            with device, socket.socket() as server, contextlib.suppress(OSError):
                # What this end acknowledges counts as arrived: no more than is handed on at once.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
                server.connect(("127.0.0.1", self._server))
                self._hand_on(device, server)

    def _hand_on(self, device: socket.socket, server: socket.socket) -> None:
        self.came.append(0)
        with selectors.DefaultSelector() as selector:
            selector.register(device, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, device)
            while ready := selector.select(SECONDS):
                for key, _ in ready:
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    piece = source.recv(PIECE)
                    if source is server:
                        piece = self._count(piece)
                    if not piece:
                        return
                    key.data.sendall(piece)

    def _count(self, piece: bytes) -> bytes:
        """Return what of a piece still comes through: nothing at the end."""
        if self.cuts:
            room = self.cuts[0] - self.came[-1]
            if room <= 0:
                del self.cuts[0]
                self._before_cut()
                return b""
            piece = piece[:room]
        self.came[-1] += len(piece)
        return piece
