"""Connections that workers hand to each other: each is served by the worker that knows its TLS session.

A connection that asks for a session of another worker is passed to it (SCM_RIGHTS) with the bytes received so far, so
that it is resumed. Only the first bytes decide: anything odd, a hello in pieces, and any fault mean that it is served
here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from .sessions import SessionTable, offered_session

MAX_HELLO = 16 * 1024
"""Bytes that are handed over with a connection; a device's hello has some hundred."""
MAX_LEFT = 1000
"""Connections that are received from other workers at the end: more than the socket holds."""

AT_ONCE = 8
"""Connections that are received from other workers at once."""
_DESCRIPTOR = struct.Struct("i")  # `send_fds` and `recv_fds` cost a tenth of what a resumed poll does

Factory = Callable[..., asyncio.BaseProtocol]
"""Makes the protocol of a connection; takes the bytes that were received of one that was handed over."""


class HandOverSockets:
    """A pair of sockets for each worker, made before the fork, which any process sends connections through.

    They outlive a worker: what was sent to one that dies waits for its successor.
    """

    def __init__(self, workers: int, family: int) -> None:
        """Make them, none of which ever blocks, for connections of an address family."""
        self._family = family
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        for end in (end for pair in self._pairs for end in pair):
            end.setblocking(False)

    def outlet(self, worker: int) -> socket.socket:
        """Return the end that `worker` reads from."""
        return self._pairs[worker][0]

    def put(self, worker: int, descriptor: int, hello: bytes) -> bool:
        """Hand a connection to a worker, with the bytes received of it; False when that is not possible now."""
        try:
            right = (socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(descriptor))
            self._pairs[worker][1].sendmsg([hello], [right])
        except (OSError, IndexError):
            return False
        return True

    def take(self, worker: int) -> tuple[socket.socket, bytes] | None:
        """Return a connection that was handed to `worker` and the bytes received of it, None when there is none."""
        try:
            hello, rights, _, _ = self.outlet(worker).recvmsg(MAX_HELLO, socket.CMSG_SPACE(_DESCRIPTOR.size))
        except (BlockingIOError, InterruptedError):
            return None
        if not rights:  # the process has no descriptor left, and the kernel dropped what it could not give
            return None
        # Asking the kernel what this is would be three more calls; only accepted connections are ever handed over.
        (descriptor,) = _DESCRIPTOR.unpack(rights[0][2])
        connection = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptor)
        connection.setblocking(False)
        return connection, hello


@dataclass
class HandOverListener:
    """Accepts connections of worker `me`, also those passed to it; `on_hand_over` is called for each it passes on."""

    listening: socket.socket
    me: int
    sessions: SessionTable
    sockets: HandOverSockets
    on_hand_over: Callable[[], None]
    _serving: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    async def open(self, factory: Factory, backlog: int) -> HandOverListener:
        """Begin to take connections, each with a protocol that `factory` makes."""
        self._loop, self._factory = asyncio.get_running_loop(), factory
        self._server = await self._loop.create_server(factory, sock=self.listening, backlog=backlog)
        self._loop.add_reader(self.sockets.outlet(self.me), self._receive)
        return self

    def close(self) -> None:
        """Take no more; what is on its way from other workers is sent away."""
        self._server.close()
        self._loop.remove_reader(self.sockets.outlet(self.me))
        for _ in range(MAX_LEFT):
            if (taken := self._take()) is None:
                break
            taken[0].close()

    def hand_over(self, hello: bytes, transport: asyncio.BaseTransport) -> bool:
        """Return whether a connection that begins with `hello` was passed to another worker; then it is closed here."""
        owner = self.sessions.owner(offered_session(hello))
        if owner is None or owner == self.me or len(hello) > MAX_HELLO:
            return False
        if not self.sockets.put(owner, transport.get_extra_info("socket").fileno(), hello):
            return False
        self.on_hand_over()
        return True

    def _take(self) -> tuple[socket.socket, bytes] | None:
        try:
            return self.sockets.take(self.me)
        except OSError:
            return None

    def _receive(self) -> None:
        """Serve some of the connections that were handed over; the loop calls as long as there are more."""
        for _ in range(AT_ONCE):
            if (taken := self._take()) is None:
                return
            task = self._loop.create_task(self._connect(*taken))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _connect(self, connection: socket.socket, hello: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._factory(hello), connection)
        except OSError:  # gone already
            with contextlib.suppress(OSError):
                connection.close()
