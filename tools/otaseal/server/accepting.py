"""Taking the operators' connections: counted by address from the moment they are accepted, before any handshake.

asyncio's own server tells nobody of a connection whose handshake is not over, and silent ones would take all files.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from .limits import Addresses

__all__ = ["Acceptor"]

PAUSE_SECONDS = 0.5
"""How long nothing is accepted when the process has no file left."""


class Acceptor:
    """Accepts connections of a listening socket until `close`.

    `make` returns the protocol of a connection and takes what is to be called when that has ended; `options` are those
    of asyncio's `connect_accepted_socket`. It has the methods of asyncio's server that uvicorn calls.
    """

    def __init__(
        self,
        listening: socket.socket,
        addresses: Addresses,
        make: Callable[[Callable[[], None]], asyncio.BaseProtocol],
        options: dict[str, Any],
    ) -> None:
        listening.setblocking(False)
        self._listening, self._addresses, self._make, self._options = listening, addresses, make, options
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Take no more; connections that are open stay."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Return when nobody can connect any more."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listening.close()
        for one in self._connecting:
            one.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._listening)
            except ConnectionError:  # gone before it was accepted
                continue
            except OSError:  # no file left
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if not self._addresses.enter(address[0]):
                connection.close()
                continue
            task = self._loop.create_task(self._connect(connection, address[0]))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket, address: str) -> None:
        gone = False

        def leave() -> None:
            nonlocal gone
            if not gone:
                gone = True
                self._addresses.leave(address)

        try:
            await self._loop.connect_accepted_socket(lambda: self._make(leave), connection, **self._options)
        except BaseException as error:
            leave()  # the handshake failed: the protocol is never told
            if not isinstance(error, OSError):
                raise
