"""One listening socket: uvicorn's HTTP on the standard library's TLS, with a bound on all that a client can do slowly.

uvicorn keeps connections alive, parses with httptools and drains on shutdown; what it has no limit for is added here:
the handshake, the request's head in bytes and seconds, and a reader that stands still. The certificate of a client is
checked when its connection stands, so that a resumed session is no way around a revocation.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, OtasealError, SystemFaultError, from_checkout
from .accepting import Acceptor
from .limits import MAX_CONNECTIONS, Addresses, room
from .tls import ClientCertificate

if TYPE_CHECKING:
    from uvicorn import Server

__all__ = [
    "BACKLOG",
    "DRAIN_SECONDS",
    "KERNEL_BUFFER",
    "Inspect",
    "bind",
    "make_listener",
    "require_packages",
    "unacknowledged",
]

HANDSHAKE_SECONDS = 20.0  # a chip needs up to 139 M instructions for it, at 80 MHz (F27d)
SHUTDOWN_SECONDS = 30.0
HEAD_SECONDS = 15.0
IDLE_SECONDS = 5
STALL_SECONDS = 60.0
DRAIN_SECONDS = 300
MAX_HEAD_BYTES = 16 * 1024
WRITE_BUFFER = 32 * 1024
"""Bytes of an answer that wait for a slow reader; more would be memory, and lost when a connection is closed."""
KERNEL_BUFFER = 64 * 1024
"""The same in the kernel, which doubles it; it would grow to megabytes, for a chip whose window is a few kilobytes."""
BACKLOG = 2048

_fcntl: Any
_termios: Any
try:
    import fcntl as _fcntl
    import termios as _termios
except ModuleNotFoundError:  # Windows
    _fcntl = _termios = None

App = Callable[..., Any]
Inspect = Callable[[Any], ClientCertificate | None]
"""Takes asyncio's `ssl_object`, returns who the client proved to be; raises OtasealError to end the connection."""


def require_packages() -> None:
    """Raise SystemFaultError, with the command that installs them, unless the packages of the server are there."""
    try:
        import httptools  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise SystemFaultError(
            f"the package '{error.name}' is missing", from_checkout("server", f'"{sys.executable}"')
        ) from error


def bind(address: str) -> socket.socket:
    """Return a listening socket for `host:port` or `[v6]:port`; port 0 takes a free one.

    Raises ConfigError for what is no address, SystemFaultError when it cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"'{address}' is no address to listen on", "write host:port, as in 127.0.0.1:8443")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)  # what it accepts inherits that
        return listening
    except OSError as error:
        reason = error.strerror or str(error)
        raise SystemFaultError(
            f"cannot listen on '{address}': {reason}", "choose a free port, and an own address"
        ) from (error)


def make_listener(app: App, listening: socket.socket, context: ssl.SSLContext, inspect: Inspect) -> Server:
    """Return a uvicorn server for `app` on the socket; its `startup`, `main_loop` and `shutdown` are the caller's."""
    from uvicorn import Config, Server
    from uvicorn.server import ServerState

    config = Config(
        app,
        http=_protocol(inspect),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=BACKLOG,
    )
    config.load()

    class Listener(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.lifespan = config.lifespan_class(config)
            state: ServerState = self.server_state
            options: dict[str, Any] = {"ssl_handshake_timeout": HANDSHAKE_SECONDS}
            if sys.version_info >= (3, 11):
                options["ssl_shutdown_timeout"] = SHUTDOWN_SECONDS

            def make(ended: Callable[[], None]) -> asyncio.BaseProtocol:
                protocol: Any = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
                protocol.ended = ended
                return protocol  # type: ignore[no-any-return]

            self.acceptor = Acceptor(listening, Addresses(room()), make, {"ssl": context, **options})
            self.servers = [self.acceptor]  # type: ignore[list-item]
            self.started = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            self.acceptor.close()
            await self.acceptor.wait_closed()
            await super().shutdown(sockets)

    return Listener(config)


def unacknowledged(connection: Any) -> int:
    """Return the bytes in the kernel that the other side has not acknowledged; 0 where the system does not say."""
    if _fcntl is None:
        return 0
    size = array("i", (0,))
    try:
        _fcntl.ioctl(connection.fileno(), _termios.TIOCOUTQ, size)
    except OSError:
        return 0
    return size[0]


def _protocol(inspect: Inspect) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class with the limits that it lacks."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Connection(HttpToolsProtocol):
        lost = False
        ended: Callable[[], None]
        head_bytes = parsed_bytes = 0
        head_timer: asyncio.TimerHandle | None = None
        stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=WRITE_BUFFER)
            try:
                certificate = inspect(transport.get_extra_info("ssl_object"))
            except OtasealError:
                transport.abort()
                return
            self.app_state = {"certificate": certificate}
            self.expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost = True  # older Pythons' transports can be asked nothing any more
            self.cancel_timers()
            self.ended()
            super().connection_lost(exc)
            # The request's state names this connection: without the circle its 256 KiB of buffers go at once.
            self.app_state = {}
            self.cycle = self.scope = None  # type: ignore[assignment]

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return  # refused already, and what the client had sent arrives all the same
            waiting = self.head_timer is not None
            super().data_received(data)
            if self.transport.is_closing():
                return
            if waiting and self.head_timer is not None:
                self.head_bytes += len(data)
                if self.head_bytes > MAX_HEAD_BYTES:
                    self.send_400_response("Request head is too large.")
            elif self.idle() and self.timeout_keep_alive_task is None and self.head_timer is None:
                self.expect_head()  # something came that begins no request, as an empty line does

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.expect_head()

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            self.bound_head(len(url))

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self.bound_head(len(name) + len(value))

        def on_headers_complete(self) -> None:
            self.cancel_head()
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            # Paused while a body came in: unless it reads again, a closing connection never sees that its client went.
            self.flow.resume_reading()
            super().on_response_complete()
            if self.transport.is_closing():
                self.end_soon()

        def shutdown(self) -> None:
            super().shutdown()
            if self.transport.is_closing():
                self.end_soon()

        def end_soon(self) -> None:
            if sys.version_info < (3, 11):  # newer ones have a time-out of their own
                self.loop.call_later(SHUTDOWN_SECONDS, self.abort_unless_lost)

        def abort_unless_lost(self) -> None:
            if not self.lost:
                self.transport.abort()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self.stall_timer is None:
                self.stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

        def resume_writing(self) -> None:
            if self.stall_timer is not None:
                self.stall_timer.cancel()
                self.stall_timer = None
            super().resume_writing()

        def idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def expect_head(self) -> None:
            self.cancel_head()
            self.head_bytes = self.parsed_bytes = 0
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

        def bound_head(self, count: int) -> None:
            self.parsed_bytes += count
            if self.parsed_bytes > MAX_HEAD_BYTES:
                raise ValueError("request head is too large")  # the parser passes it on, and the answer is 400

        def cancel_head(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def cancel_timers(self) -> None:
            self.cancel_head()
            if self.stall_timer is not None:
                self.stall_timer.cancel()
                self.stall_timer = None

    return Connection
