"""The TCP connection under TLS: every read ends, by bytes, by the end of the connection, or by a timeout."""

from __future__ import annotations

import socket
import time


class Socket:
    """A TCP connection; each read waits `timeout` seconds at most, and everything together ten times that."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self._connection, self._timeout = connection, timeout
        self._end = time.monotonic() + 10 * timeout
        self.timed_out = False

    def take(self, count: int) -> bytes:
        """Return `count` bytes, or fewer where the connection ends or nothing comes."""
        data = bytearray()
        while len(data) < count:
            self._connection.settimeout(max(min(self._timeout, self._end - time.monotonic()), 0.001))
            try:
                piece = self._connection.recv(count - len(data))
            except TimeoutError:
                self.timed_out = True
                break
            except OSError:
                break
            if not piece:
                break
            data += piece
        return bytes(data)

    def send(self, data: bytes) -> bool:
        """Send all of `data`, and tell whether it went out."""
        try:
            self._connection.settimeout(self._timeout)
            self._connection.sendall(data)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def dial(address: str, port: int, timeout: float) -> Socket | str:
    """Return a connection, or the reason why there is none."""
    try:
        connection = socket.create_connection((address, port), timeout)
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    except UnicodeError:  # a part of the name is empty or too long
        return "no host can have this name"
    return Socket(connection, timeout)
