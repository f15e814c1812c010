"""The door of a worker: it takes connections from the socket that all workers share, and leads each to whom it is for.

A connection that asks for a session of another worker is handed to that worker (SCM_RIGHTS), so that it is resumed
wherever the device comes from and whatever else comes from there. The first bytes are looked at without taking them.
Looking never waits: a connection that has said nothing yet is looked at again when it speaks, and after LOOK_SECONDS,
as with anything odd and any trouble, it is simply served here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from .sessions import HELLO_BYTES, SessionTable, offered_session

__all__ = ["Door", "Mailboxes"]

LOOK_SECONDS = 5.0
DEFER_SECONDS = 1
REOPEN_SECONDS = 1.0
"""How long nothing is accepted after the process ran out of descriptors or memory."""
MAX_LEFT = 1000
"""Connections that are still taken from the mailbox at the end: more than it holds."""
_BODY = b"c"

Factory = Callable[[], asyncio.BaseProtocol]


class Mailboxes:
    """One pair of sockets a worker, made before the fork: any process puts connections in, the worker takes them out.

    They outlive a worker: what was handed to one that dies waits for its successor.
    """

    def __init__(self, workers: int, family: int) -> None:
        """Make them, none of which ever blocks, for connections of an address family."""
        self._family = family
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
        for one in (end for pair in self._pairs for end in pair):
            one.setblocking(False)

    def outlet(self, worker: int) -> socket.socket:
        """Return the end that `worker` reads from."""
        return self._pairs[worker][0]

    def put(self, worker: int, connection: socket.socket) -> bool:
        """Hand a connection to a worker and close it here; False, and it stays open, when that is not possible now."""
        try:
            socket.send_fds(self._pairs[worker][1], [_BODY], [connection.fileno()])
        except (OSError, IndexError):
            return False
        connection.close()
        return True

    def take(self, worker: int) -> socket.socket | None:
        """Return a connection that was handed to `worker`, None when there is none."""
        try:
            _, descriptors, _, _ = socket.recv_fds(self.outlet(worker), len(_BODY), 1)
        except (BlockingIOError, InterruptedError):
            return None
        if not descriptors:  # the process has no descriptor left, and the kernel dropped what it could not give
            return None
        # Asking the kernel what this is would be three more calls; only the door's own sockets are ever handed over.
        connection = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptors[0])
        connection.setblocking(False)
        return connection


@dataclass
class Door:
    """Worker `me`'s way in: connections from `listening`, served by protocols that `factory` makes.

    `handed` is called for each connection that went to another worker.
    """

    listening: socket.socket
    factory: Factory
    me: int
    sessions: SessionTable
    mailboxes: Mailboxes
    handed: Callable[[], None]
    _looking: dict[socket.socket, asyncio.TimerHandle] = field(default_factory=dict, repr=False)
    _serving: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    _open: bool = False

    async def open(self) -> Door:
        """Begin to take connections."""
        self._loop = asyncio.get_running_loop()
        self.listening.setblocking(False)
        if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux lets in who has spoken, and after that time everybody
            self.listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        self._open = True
        self._loop.add_reader(self.listening, self._accept)
        self._loop.add_reader(self.mailboxes.outlet(self.me), self._receive)
        return self

    def close(self) -> None:
        """Take no more; who has not said anything yet is sent away."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self.listening)
            self._loop.remove_reader(self.mailboxes.outlet(self.me))
            self.listening.close()
            for _ in range(MAX_LEFT):
                if not self._receive():
                    break
        for connection in list(self._looking):
            self._looked(connection)
            connection.close()

    def _accept(self) -> None:
        # One at a time: while this process is busy, the other ones take theirs from the same queue.
        try:
            connection, _ = self.listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._loop.remove_reader(self.listening)
            self._loop.call_later(REOPEN_SECONDS, self._reopen)
            return
        connection.setblocking(False)
        self._look(connection)

    def _reopen(self) -> None:
        if self._open:
            self._loop.add_reader(self.listening, self._accept)

    def _look(self, connection: socket.socket) -> None:
        try:
            hello = connection.recv(HELLO_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            if connection not in self._looking:
                self._looking[connection] = self._loop.call_later(LOOK_SECONDS, self._decide, connection, b"")
                self._loop.add_reader(connection, self._look, connection)
        except OSError:
            self._looked(connection)
            connection.close()
        else:
            self._decide(connection, hello)

    def _decide(self, connection: socket.socket, hello: bytes) -> None:
        self._looked(connection)
        owner = self.sessions.owner(offered_session(hello))
        if owner is not None and owner != self.me and self.mailboxes.put(owner, connection):
            self.handed()
        else:
            self._serve(connection)

    def _looked(self, connection: socket.socket) -> None:
        timer = self._looking.pop(connection, None)
        if timer is not None:
            timer.cancel()
            self._loop.remove_reader(connection)

    def _receive(self) -> bool:
        """Serve one connection that was handed over, and return whether there was one; the loop calls as often."""
        try:
            connection = self.mailboxes.take(self.me)
        except OSError:
            return False
        if connection is not None:
            self._serve(connection)
        return connection is not None

    def _serve(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._connect(connection))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self.factory, connection)
        except OSError:  # gone already
            with contextlib.suppress(OSError):
                connection.close()
