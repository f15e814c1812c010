"""`otaseal serve` in a process of its own. Nothing of pytest, so that the demonstration uses the same module."""

from __future__ import annotations

import re
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

READY = re.compile(r"otaseal: serving devices on https://[^ ]+:(\d+), operators on https://[^ ]+:(\d+)\n")
SECONDS = 60
"""For what ends much sooner, or is wrong: no test waits so long for anything that goes well."""
ON_LOOPBACK = ("--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0")


def serve(
    *options: str | Path,
    log: Path,
    environment: Mapping[str, str],
    errors: int | None = None,
    prefix: Sequence[str] = (),
) -> tuple[subprocess.Popen[str], re.Match[str]]:
    """Start a server with `options` on free ports, and return it with what it said, a match of READY: its two ports.

    `log` is the file of its standard error, unless `errors` is a descriptor for it; `prefix` is the command that runs
    it. Fails when the server does not say that it is ready.
    """
    command = [*prefix, sys.executable, "-m", "otaseal", "serve", *ON_LOOPBACK, *map(str, options)]
    with log.open("w" if errors is None else "a") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=file if errors is None else errors,
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
        raise
    return process, match
