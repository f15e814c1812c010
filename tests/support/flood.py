"""A client that holds many connections and does nothing useful with them: one process, one selector, no threads.

    python flood.py <kind> <port> <count> <ca>       kind: silent, head, body
    python flood.py <kind> <port> <count> <ca> <path> <header>...   the request of `body`

`silent` connects and says nothing, not even a handshake; `head` sends a byte of its request's head a second; `body` the
whole head and then a byte of the body a second. A connection that the server closes is opened again, at the pace of the
first time. Prints "held" when each was held once, ends when its input ends, and prints what became of them.
"""

from __future__ import annotations

import heapq
import resource
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Iterator

PACE = 100  # connections a second
DRIP_SECONDS = 1.0
BODY = 100_000
HEAD = b"GET /firmware.bin.signed HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * BODY


def request(kind: str, path: str = "/firmware.bin.signed", *headers: str) -> tuple[bytes, bytes]:
    """Return what is sent at once, and what a byte at a time."""
    if kind == "head":
        return b"", HEAD
    lines = [f"PUT {path} HTTP/1.1", "Host: localhost", f"Content-Length: {BODY}", *headers, "", ""]
    return "\r\n".join(lines).encode(), bytes(BODY)


class Slot:
    """One connection of the flood, which may have been opened more than once."""

    def __init__(self, flood: Flood) -> None:
        self.flood = flood
        self.sock: socket.socket | None = None
        self.ready = self.held = False
        self.rest: Iterator[int] = iter(())

    def open(self) -> None:
        raw = socket.socket()
        raw.setblocking(False)
        raw.connect_ex(("127.0.0.1", self.flood.port))
        self.sock, self.ready = raw, False
        self.flood.opened += 1
        self.flood.selector.register(raw, selectors.EVENT_WRITE, self)

    def step(self) -> None:
        """Go on with whatever the socket is ready for."""
        assert self.sock is not None
        try:
            if not self.ready:
                self.start()
            elif self.sock.recv(4096) == b"":
                self.close()
        except (ssl.SSLWantReadError, BlockingIOError):
            self.watch(selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self.watch(selectors.EVENT_WRITE)
        except OSError:
            self.close()

    def start(self) -> None:
        assert self.sock is not None
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
        if self.flood.kind != "silent":
            if not isinstance(self.sock, ssl.SSLSocket):
                self.flood.selector.unregister(self.sock)
                self.sock = self.flood.context.wrap_socket(
                    self.sock, server_hostname="localhost", do_handshake_on_connect=False
                )
                self.flood.selector.register(self.sock, selectors.EVENT_READ, self)
            self.sock.do_handshake()
            first, rest = self.flood.request
            self.sock.send(first)
            self.rest = iter(rest)
            self.flood.later(DRIP_SECONDS, self.drip)
        self.ready = True
        self.watch(selectors.EVENT_READ)
        if not self.held:
            self.held = True
            self.flood.held += 1

    def drip(self) -> None:
        if self.sock is None or not self.ready:
            return
        try:
            self.sock.send(bytes([next(self.rest)]))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, StopIteration):
            self.close()
            return
        self.flood.later(DRIP_SECONDS, self.drip)

    def watch(self, events: int) -> None:
        assert self.sock is not None
        self.flood.selector.modify(self.sock, events, self)

    def close(self) -> None:
        if self.sock is not None:
            self.flood.selector.unregister(self.sock)
            self.sock.close()
            self.sock = None
            self.flood.closed += 1
            self.flood.waiting.append(self)


class Flood:
    """All connections, what is to be done when, and what was counted."""

    def __init__(self, kind: str, port: int, count: int, context: ssl.SSLContext, request: tuple[bytes, bytes]) -> None:
        self.kind, self.port, self.context, self.request = kind, port, context, request
        self.selector = selectors.DefaultSelector()
        self.waiting = [Slot(self) for _ in range(count)]
        self.timers: list[tuple[float, int, object]] = []
        self.held = self.opened = self.closed = self.made = 0
        self.count = count

    def later(self, seconds: float, call: object) -> None:
        self.made += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.made, call))

    def open_next(self) -> None:
        if self.waiting:
            self.waiting.pop(0).open()
        self.later(1 / PACE, self.open_next)

    def run(self) -> None:
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        self.open_next()
        told = False
        while True:
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()  # type: ignore[operator]
            for key, _ in self.selector.select(max(self.timers[0][0] - time.monotonic(), 0)):
                if key.data is None:
                    print(f"opened {self.opened} closed {self.closed}", flush=True)
                    return
                key.data.step()
            if self.held == self.count and not told:
                told = True
                print("held", flush=True)


def main(kind: str, port: str, count: str, ca: str, *more: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Flood(kind, int(port), int(count), ssl.create_default_context(cafile=ca), request(kind, *more)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
