"""Where a build comes from, as git tells it: a version for people, the commit, and whether the tree was clean."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError

__all__ = ["GitState", "git_state", "version_from"]

TIMEOUT = 20  # seconds
NO_VERSION_HINT = "set custom_otaseal_version, or give --version"


@dataclass(frozen=True)
class GitState:
    """What `git describe --always --dirty` says, the full commit, and whether anything tracked was changed."""

    description: str
    commit: str
    dirty: bool


def git_state(project: Path) -> GitState | None:
    """Return the state of the repository that `project` lies in, None where there is none, or no git."""
    commit = _git(project, "rev-parse", "--verify", "HEAD")
    described = _git(project, "describe", "--always", "--dirty", "--tags")
    if commit is None or described is None:
        return None
    return GitState(described, commit, described.endswith("-dirty"))


def version_from(given: str | None, state: GitState | None) -> str:
    """Return the version of a release: the one `given`, else git's; raises ConfigError when there is neither."""
    if given is not None:
        return given
    if state is None:
        raise ConfigError("the release has no version, and the project is in no git repository", NO_VERSION_HINT)
    # A tag may hold what no file name and header can, as release/1.2 does
    return re.sub(r"[^0-9A-Za-z._+-]", "-", state.description)


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
