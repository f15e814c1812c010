"""A link to a server on loopback, which breaks where a test says; what came over it is counted."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence

from support.listening import SECONDS, Listening

PIECE = 2048


class Relay(Listening):
    """Hands connections on to `server`. One that brings `cuts[0]` bytes is broken, then the next number counts.

    `came` are the bytes that each connection has brought, `before_cut` is called before one is broken.
    """

    def __init__(self, server: int, cuts: Sequence[int], before_cut: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.came: list[int] = []
        self.cuts = list(cuts)
        self._server, self._before_cut = server, before_cut

    def take(self, connection: socket.socket) -> None:
        """Hand one connection on."""
        with socket.socket() as server:
            # What this end acknowledges counts as arrived: no more than is handed on at once.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            server.connect(("127.0.0.1", self._server))
            self._hand_on(connection, server)

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
