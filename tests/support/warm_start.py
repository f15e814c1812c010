"""Programs in Python that start warm: a run is a fork of a process that has imported already what the program imports.

Of a `pio run` that does nothing, two thirds of the processor time are imports of PlatformIO and SCons. `serving` keeps
a process that has done them; `call` takes the place of a program's start: it hands over arguments, directory,
environment and open files, and ends as the program does. A run is a process of its own as ever, and what the tests are
about (hooks, platforms, projects) is imported anew in each. What else a process inherits, as its namespaces and its
limits, it has from the process kept: what such a test is about starts from nothing. Standard library only.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AVAILABLE = sys.platform == "linux"
LONGEST = 1 << 17
"""Bytes of a request; the environment makes up nearly all of it."""
UNANSWERED = b"70"
"""Exit code (EX_SOFTWARE) where the process that was asked is gone."""


@contextmanager
def serving(address: Path, program: str, imported: Sequence[str], python: str = sys.executable) -> Iterator[None]:
    """Keep a process at the socket `address` that has `imported` these modules, and whose forks run `program`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = [python, __file__, "serve", str(address), program, *imported]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "its own error output says why"
        yield


def command(address: Path, python: str = sys.executable) -> list[str]:
    """Return the command that runs the program of the process at `address`; its arguments follow."""
    return [python, "-I", "-S", __file__, "call", str(address)]


def call(address: str, arguments: Sequence[str], folder: str) -> int:
    """Have a fork run its program with `arguments`, and `folder` first on its path; return its exit code."""
    request = {"arguments": arguments, "folder": folder, "cwd": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        return int(connection.recv(16) or UNANSWERED)


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
    """Fork, and become in it what the one that asked would be after its start; this process tells it the exit code."""
    with connection:
        data, files, _, _ = socket.recv_fds(connection, LONGEST, 3)
        if child := os.fork():
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
