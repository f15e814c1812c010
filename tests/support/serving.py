"""`otaseal serve` in a process of its own. Nothing of pytest, so that the demonstration uses the same module."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Union

from support import warm_start

READY = re.compile(r"otaseal: serving devices on https://[^ ]+:(\d+), operators on https://[^ ]+:(\d+)\n")
SECONDS = 60
"""For what ends much sooner, or is wrong: no test waits so long for anything that goes well."""
TOOLS = Path(__file__).resolve().parents[2] / "tools"
ENVIRONMENT = {"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"}
IMPORTED = (
    "otaseal.cli.serve",
    "otaseal.pki.check",
    "otaseal.server.operator_api.app",
    "otaseal.server.process.event_loop",
    "httptools",
    "jwt",
    "starlette.applications",
    "uvicorn.protocols.utils",
    "uvloop",
    "otaseal.client.deployment",
    "otaseal.rehearsal.trial",
)
"""What a server imports before it is ready, and commands that ask one."""
Process = Union["subprocess.Popen[str]", warm_start.Started]
ON_LOOPBACK = ("--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0")


def serve(
    *options: str | Path,
    log: Path,
    environment: Mapping[str, str],
    errors: int | None = None,
    prefix: Sequence[str] = (),
) -> tuple[Process, re.Match[str]]:
    """Start a server with `options` on free ports, and return it with what it said, a match of READY: its two ports.

    `log` is the file of its standard error, unless `errors` is a descriptor for it; `prefix` is the command that runs
    it. With nothing but ENVIRONMENT it starts warm. Fails when the server does not say that it is ready.
    """
    arguments = ["serve", *ON_LOOPBACK, *map(str, options)]
    with log.open("w" if errors is None else "a") as file:
        stderr = file.fileno() if errors is None else errors
        process: Process
        if warm_start.AVAILABLE and not prefix and environment == ENVIRONMENT:
            process = _start_warm(arguments, stderr)
        else:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "otaseal", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=dict(environment),
            )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), "the server does not get ready"
        line = process.stdout.readline()
        match = READY.fullmatch(line)
        assert match, line + log.read_text()
    except BaseException:
        process.kill()
        process.wait(SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        raise
    return process, match


@cache
def warm() -> Path:
    """Return the address of a process that has imported otaseal, and is kept until this one ends."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp())
        stack.callback(shutil.rmtree, folder)
        address = folder / "server"
        stack.enter_context(warm_start.serving(address, "otaseal", IMPORTED, environment=ENVIRONMENT))
        atexit.register(_close, stack.pop_all(), os.getpid())
    return address


def _close(stack: contextlib.ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # and not a fork of a test, which inherits what is done at the end
        stack.close()


def _start_warm(arguments: Sequence[str], stderr: int) -> warm_start.Started:
    ours, its = os.pipe()
    try:
        connection = warm_start.begin(str(warm()), arguments, str(Path.cwd()), ENVIRONMENT, (0, its, stderr))
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(its)
    return warm_start.Started(connection, os.fdopen(ours, encoding="utf-8"))
