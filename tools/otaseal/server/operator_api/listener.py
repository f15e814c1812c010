"""The operators' listener: a uvicorn server whose connections are accepted here, counted before any handshake.

asyncio's own server, which uvicorn would use, does not report a connection before its handshake is over, so that silent
ones could use up all open files. The timeouts of each connection are in `connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..limits import DRAIN_SECONDS, HANDSHAKE_SECONDS, IDLE_SECONDS, Addresses, room
from ..tls import Inspect
from .connection import OperatorConnection

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn import Config, Server

PAUSE_SECONDS = 0.5
"""How long nothing is accepted when the process has no file left."""

MakeProtocol = Callable[[Callable[[], None]], asyncio.Protocol]
"""Takes what is to be called when the connection has ended."""


def make_listener(app: ASGIApp, listening: socket.socket, context: ssl.SSLContext, inspect: Inspect) -> Server:
    """Return a server for `app` on one socket and TLS `context`; `inspect` is called once for each connection."""
    from uvicorn import Server

    class Listener(Server):
        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            self.acceptor = Acceptor(listening, context, make_protocol)
            await super().serve([])

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await self.acceptor.close()
            await super().shutdown(sockets)

        def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
            return contextlib.nullcontext()  # signals are the process's: it serves devices, too

    config = _config(app)
    server = Listener(config)

    def make_protocol(ended: Callable[[], None]) -> asyncio.Protocol:
        return OperatorConnection(config, server.server_state, inspect, ended)

    return server


def _config(app: ASGIApp) -> Config:
    from uvicorn import Config

    return Config(
        _notifying(app),
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def _notifying(app: ASGIApp) -> ASGIApp:
    """Return an `app` that notifies the connection of a request when it is answered."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            scope["state"]["answered"]()

    return serve


class Acceptor:
    """Accepts connections of a listening socket until `close`, as many of each address as `limits` allow."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext, make_protocol: MakeProtocol) -> None:
        listening.setblocking(False)
        self._listening, self._context, self._make_protocol = listening, context, make_protocol
        self._addresses = Addresses(room())
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """Take no more, and end the handshakes that are not over; connections that are open stay."""
        self._accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._accepting
        self._listening.close()
        for task in self._connecting:
            task.cancel()

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
        """Shake hands; the address has one connection less when that fails, else when the connection has ended."""
        leave = contextlib.ExitStack()
        leave.callback(self._addresses.leave, address)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_protocol(leave.close),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except BaseException as error:
            leave.close()  # the protocol is never called
            if not isinstance(error, OSError):
                raise
