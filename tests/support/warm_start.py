"""Programs in Python that start warm: a run is a fork of a process that has imported already what the program imports.

Of a `pio run` that does nothing, two thirds of the processor time are imports of PlatformIO and SCons; of the start of
an update server, more than that. `serving` keeps a process that has done them; `begin` and `call` take the place of a
program's start: they hand over arguments, directory, environment and open files. A run is a process of its own as
ever, and what the tests of builds are about (hooks, platforms, projects) is imported anew in each. What else a process
inherits, as its namespaces and its limits, it has from the process kept: what such a test is about starts from nothing.
Standard library only.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

AVAILABLE = sys.platform == "linux"
LONGEST = 1 << 17
"""Bytes of a request; the environment makes up nearly all of it."""
UNANSWERED = 70
"""Exit code (EX_SOFTWARE) where the process that was asked is gone."""


@contextmanager
def serving(
    address: Path,
    program: str,
    imported: Sequence[str],
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Keep a process at the socket `address` that has `imported` these modules, and whose forks run `program`.

    It has this `environment`, or the caller's without PYTHONPATH.
    """
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if environment is not None:
        given = dict(environment)
    server = [python, __file__, "serve", str(address), program, *imported]
    pipes = dict.fromkeys(
        ("stdin", "stdout", "stderr"), subprocess.PIPE
    )  # of a file, Python would remember that it seeks
    with subprocess.Popen(server, env=given, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n", process.stderr.read()
        yield


def command(address: Path, python: str = sys.executable) -> list[str]:
    """Return the command that runs the program of the process at `address`; its arguments follow."""
    return [python, "-I", "-S", __file__, "call", str(address)]


class Started:
    """A run that has begun: of `subprocess.Popen`, what the tests use of it."""

    def __init__(self, connection: socket.socket, stdout: IO[str] | None = None) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.stdout = stdout
        self.pid = int(connection.recv(16) or b"0")
        self.returncode: int | None = None if self.pid else UNANSWERED

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code; raises TimeoutExpired where it runs for more than `timeout` seconds."""
        with suppress(ValueError, OSError):  # another thread has heard it, and closed the connection
            if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("warm start", timeout or 0)
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._connection.recv(16) or UNANSWERED)
                self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def begin(
    address: str,
    arguments: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    files: Sequence[int] = (0, 1, 2),
) -> socket.socket:
    """Have a fork run its program with `arguments`, and `folder` first on its path; return what `Started` takes."""
    request = {"arguments": arguments, "folder": folder, "cwd": str(Path.cwd()), "environment": dict(environment)}
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], list(files))
    except BaseException:
        connection.close()
        raise
    return connection


def call(address: str, arguments: Sequence[str], folder: str) -> int:
    """Have a fork run its program as this process would, and return its exit code."""
    return Started(begin(address, arguments, folder, os.environ)).wait()


def serve(address: str) -> socket.socket:
    """Fork for each that connects to `address`, and return the connection, in the fork only; ends with its input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return connection
            connection.close()
    sys.exit()


def take(connection: socket.socket) -> None:
    """Fork, and become in it what the one that asked would be after its start.

    This process tells who asked which process that is, and then its exit code.
    """
    with connection:
        data, files, _, _ = socket.recv_fds(connection, LONGEST, 3)
        if child := os.fork():
            for number in files:
                os.close(number)
            connection.send(str(child).encode())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            connection.send(str(code).encode())
            os._exit(0)
    request: dict[str, Any] = json.loads(data)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:1] = [request["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[1:] = request["arguments"]


def main(action: str, address: str, *others: str) -> None:
    if action == "call":
        sys.exit(call(address, others, str(Path.cwd())))
    program, *imported = others
    for name in imported:
        importlib.import_module(name)
    gc.freeze()
    take(serve(address))
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
