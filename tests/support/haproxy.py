"""The real HAProxy, with the configuration that is shipped or another one."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Proxy:
    """HAProxy that runs: the master with its workers, and the socket at which it answers."""

    process: subprocess.Popen[bytes]
    control: Path

    def ask(self, command: str) -> str:
        """Return the answer to a command, "" where there is none now; `@1` before it is for the worker."""
        with socket.socket(socket.AF_UNIX) as asking, contextlib.suppress(OSError):
            asking.settimeout(SECONDS)
            asking.connect(str(self.control))
            asking.sendall(f"{command}\n".encode())
            asking.shutdown(socket.SHUT_WR)  # no other command comes
            return b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        return ""

    def teaches(self) -> bool:
        """Return whether a reload would hand its table on: not in the first seconds, in which it asks itself."""
        match = re.search(r"id=sessions .*flags=0x([0-9a-f]+)", self.ask("@1 show peers"))
        return match is not None and int(match[1], 16) & 3 == 3

    def reload(self) -> None:
        """Start another worker with the configuration as it is now, and return when it works."""
        before = self.workers()
        self.process.send_signal(signal.SIGUSR2)
        until(lambda: bool(self.workers() - before), "there is no new worker")

    def workers(self) -> set[str]:
        """Return the process ids of the workers, but for those that only end their connections."""
        current = self.ask("show proc").partition("# old workers")[0]
        return {line.split()[0] for line in current.splitlines() if line.split()[1:2] == ["worker"]}


@contextlib.contextmanager
def running(
    config: Path, address: tuple[str, int], environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[Proxy]:
    """Run HAProxy until the end of the block; it listens at `address` when it begins."""
    haproxy = peers.tool("haproxy", "haproxy")
    with tempfile.TemporaryDirectory(prefix="otaseal-haproxy-") as folder:
        control = Path(folder) / "control"
        process = subprocess.Popen(
            [*prefix, haproxy, "-W", "-S", str(control), "-f", str(config)],
            env={"PATH": "/usr/sbin:/usr/bin:/bin", **_owner(), **(environment or {})},
            stdout=subprocess.DEVNULL,
        )
        try:
            until(lambda: process.poll() is not None or listens(*address), "HAProxy does not listen")
            assert process.poll() is None, f"HAProxy does not take '{config}'"
            yield Proxy(process, control)
        finally:
            process.terminate()
            process.wait(SECONDS)


def _owner() -> dict[str, str]:
    """Return as whom the shipped configuration runs where nobody may become somebody else."""
    if os.geteuid() == 0:
        return {}
    names = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    return dict(zip(("OTASEAL_HAPROXY_USER", "OTASEAL_HAPROXY_GROUP"), names, strict=True))
