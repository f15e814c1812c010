"""Ends a process, or fails its system calls, at every single step of something it does to files.

A case is a fork of this process: no interpreter starts, so that a thousand take seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Set
from pathlib import Path
from types import FrameType

from otaseal.errors import OtasealError

from . import peers

ACKNOWLEDGED, REFUSED, KILLED = "acknowledged", "refused", "killed"
CHANGING = frozenset({"open", "mkdir", "write", "flush", "fsync", "rename", "replace", "link", "unlink", "remove"})
CHANGING |= {"rmdir", "truncate", "ftruncate", "chmod", "fchmod", "flock"}
ALL = CHANGING | {"close", "__exit__", "seek", "read", "readinto", "stat", "listdir", "scandir", "iterdir", "fileno"}
REFUSED_CODE, BUG_CODE = 40, 41


def killed_before(call: int, action: Callable[[], object], calls: Set[str] = CHANGING) -> str:
    """Do `action` in a child that dies by SIGKILL before number `call`, from 0, of `calls`; return how it ended."""
    return _outcome(_fork(lambda: _die_before(call, action, calls)))


def faulted(calls: str, error: str, number: int, action: Callable[[], object], log: Path) -> tuple[str, bool]:
    """Do `action` in a child whose system call `number`, from 1, of `calls` fails with `error`, by strace.

    Return how it ended, and whether it came to that call.
    """
    inject = f"inject={calls}:error={error}:when={number}"
    ended = _straced(["-e", f"trace={calls}", "-e", inject, "-o", str(log)], action)
    return ended, re.search(r"\(INJECTED\)$", log.read_text(), re.MULTILINE) is not None


def traced(calls: str, action: Callable[[], object], log: Path) -> list[str]:
    """Do `action` in a child and return its `calls` that succeeded, in order, descriptors with their paths."""
    assert _straced(["-y", "-s", "0", "-e", f"trace={calls}", "-o", str(log)], action) == ACKNOWLEDGED
    return [line for line in log.read_text().splitlines() if re.search(r"\) += \d", line)]


def _straced(options: list[str], action: Callable[[], object]) -> str:
    strace = peers.tool("strace", "strace")
    child = _fork(lambda: (os.kill(os.getpid(), signal.SIGSTOP), action()))
    os.waitpid(child, os.WUNTRACED)
    with subprocess.Popen([strace, *options, "-p", str(child)], stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        os.kill(child, signal.SIGCONT)
        return _outcome(child)


def _fork(action: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    code = BUG_CODE
    try:
        action()
        code = 0
    except OtasealError:
        code = REFUSED_CODE
    except BaseException as error:  # said here, as nobody else will
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)
    raise AssertionError("not reached")


def _die_before(call: int, action: Callable[[], object], calls: Set[str]) -> None:
    left = call

    def watch(_: FrameType, event: str, called: object) -> None:
        nonlocal left
        if event == "c_call" and getattr(called, "__name__", "") in calls:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(None)


def _outcome(child: int) -> str:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return KILLED
    return {0: ACKNOWLEDGED, REFUSED_CODE: REFUSED}[os.WEXITSTATUS(status)]
