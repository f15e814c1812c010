"""What git says of a folder's repository: asked in one way, and a failure of git is never taken for an answer.

Whether a folder lies in a repository at all is told by `.git` in it or above it: where there is none, nothing is asked
and no git is needed. Where there is one, only git's own answer counts. A repository that belongs to another user, whose
git directory is missing or whose index is damaged, and a git that is not installed are errors: whoever guards a key or
wants a version must not go on as if there were no repository.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import SystemFaultError, one_line

SECONDS = 20
"""How long git may take, for what is a matter of milliseconds."""
MARKER = ".git"
ANSWERS = (0, 1)
"""Exit codes of git that say yes or no; all others say that it could not tell."""
KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT")
KEPT_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
"""Variables that say what configuration applies, safe.directory among it. Others of git may name another repository:
whoever runs us from a hook of git has them set."""
_OWNER = re.compile(r"dubious ownership in repository at '(.+?)'|unsafe repository \('(.+?)' is owned")
_GONE = re.compile(r"not a git repository: (.+)")


@dataclass(frozen=True)
class Answer:
    """Whether git said yes (its exit code 0), and what it printed, without space around it."""

    yes: bool
    text: str


def ask(folder: Path, environment: Mapping[str, str], *arguments: str) -> Answer | None:
    """Return git's answer to a command in `folder`, None where that lies in no repository.

    Raises SystemFaultError where git cannot tell.
    """
    folder = folder.resolve()
    marker = next((parent / MARKER for parent in (folder, *folder.parents) if os.path.lexists(parent / MARKER)), None)
    if marker is None:
        return None
    # Neither a monitor of the repository's choice is started, nor its index written
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(
            command, env=_variables(environment), stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
            errors="replace", check=False, timeout=SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SystemFaultError(f"'{marker}' is there, and git is not installed", "install git") from error
    except subprocess.TimeoutExpired as error:
        raise SystemFaultError(f"git does not answer within {SECONDS} s", f"try: git -C '{folder}' status") from error
    except OSError as error:
        raise SystemFaultError(f"git does not run: {error.strerror}", "check that 'git --version' works") from error
    if completed.returncode not in ANSWERS:
        raise _failure(completed.stderr, folder, marker)
    return Answer(completed.returncode == 0, completed.stdout.strip())


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which git looks for the repository itself, across mounts, and speaks English."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("GIT_") or name in KEPT or name.startswith(KEPT_PREFIXES)
    }
    return {**kept, "LC_ALL": "C", "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1"}


def _failure(errors: str, folder: Path, marker: Path) -> SystemFaultError:
    """Return what is wrong by what git said, its first line where the cause is none of those that are known."""
    if owner := _OWNER.search(errors):
        where = owner[1] or owner[2]
        return SystemFaultError(
            f"git does not look into '{where}', which belongs to another user",
            f"if you trust it: git config --global --add safe.directory '{where}'",
        )
    if missing := _GONE.search(errors):
        return SystemFaultError(
            f"'{marker}' names the git directory '{missing[1]}', which is not there", "mount it, too, or restore it"
        )
    if "not a git repository" in errors:
        return SystemFaultError(f"git sees no repository in '{marker}'", "repair it, or remove it")
    message = next((line for line in errors.splitlines() if line.startswith(("fatal: ", "error: "))), "it says no more")
    return SystemFaultError(
        f"git fails: {one_line(message.partition(': ')[2] or message)}",
        f"repair it: git -C '{folder}' status says more",
    )
