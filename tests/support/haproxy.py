"""The real HAProxy, with the configuration that is shipped or another one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from support import peers
from support.servers import SECONDS, until

SHIPPED = Path(__file__).resolve().parents[2] / "packaging" / "haproxy" / "haproxy.cfg"


def free_port(*addresses: str) -> int:
    """Return a port that is free on all of these addresses of this machine."""
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    port = stack.enter_context(socket.create_server((address, port))).getsockname()[1]
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free on all of {addresses}")


def listens(address: str, port: int) -> bool:
    """Return whether a connection is taken there."""
    try:
        socket.create_connection((address, port), SECONDS).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(
    config: Path, address: tuple[str, int], environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run HAProxy, a master with its worker, until the end of the block; it listens at `address` when it begins."""
    haproxy = peers.tool("haproxy", "haproxy")
    process = subprocess.Popen(
        [*prefix, haproxy, "-W", "-q", "-f", str(config)],
        env={"PATH": "/usr/sbin:/usr/bin:/bin", **(environment or {})},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: process.poll() is not None or listens(*address), "HAProxy does not listen")
        assert process.poll() is None, f"HAProxy does not take '{config}'"
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)
