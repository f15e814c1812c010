"""Where a build comes from, as git tells it: a version for people, the commit, and whether the tree was clean.

When it was made is SOURCE_DATE_EPOCH where that is set, so that a build can be repeated to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from .. import git
from ..errors import ConfigError, SystemFaultError

if TYPE_CHECKING:
    from ..image.manifest import Manifest
    from ..release.records import Origin

SOURCE_DATE = "SOURCE_DATE_EPOCH"
MAX_TIME = 0xFFFF_FFFF
"""Unix seconds: what 32 bits of a manifest hold, until 2106."""
MAX_CHANGES = 50
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_NUMBER = re.compile(r"[0-9]{1,10}")
NO_VERSION_HINT = "set custom_otaseal_version, or give --version"


@dataclass(frozen=True)
class GitState:
    """What `git describe --always --dirty` says, the full commit, whether anything tracked was changed.

    `time` is the commit's, in Unix seconds, 0 where git does not say. `fault` is why git cannot tell any of it.
    """

    description: str
    commit: str
    dirty: bool
    time: int = 0
    fault: SystemFaultError | None = None


def git_state(project: Path, environment: Mapping[str, str]) -> GitState | None:
    """Return the state of the repository that `project` lies in, None where there is none, or no commit in it yet."""
    try:
        commit = git.ask(project, environment, "rev-parse", "--verify", "--quiet", "HEAD")
        if commit is None or not commit.yes:
            return None
        described = git.ask(project, environment, "describe", "--always", "--dirty", "--tags")
        time = git.ask(project, environment, "show", "--no-patch", "--format=%ct", "HEAD")
    except SystemFaultError as error:
        return GitState("", "", dirty=False, fault=error)
    assert described is not None
    assert time is not None
    seconds = int(time.text) if time.text.isdigit() else 0
    return GitState(described.text, commit.text, described.text.endswith("-dirty"), seconds)


def changes_since(commit: str, project: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the subjects of the commits since `commit`, the latest first, MAX_CHANGES at most; () where unknown."""
    if not _COMMIT.fullmatch(commit):
        return ()
    options = ("--no-show-signature", "--format=%h %s", f"--max-count={MAX_CHANGES}")
    try:
        said = git.ask(project, environment, "log", *options, f"{commit}..HEAD", "--")
    except SystemFaultError:  # git does not know it: a checkout of the last commit alone
        return ()
    return tuple(said.text.splitlines()) if said is not None and said.yes else ()


def source_date(environment: Mapping[str, str]) -> int | None:
    """Return SOURCE_DATE_EPOCH in Unix seconds, None where it is not set; raises ConfigError for no such number."""
    text = environment.get(SOURCE_DATE, "").strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or int(text) > MAX_TIME:
        raise ConfigError(f"{SOURCE_DATE} is '{text[:32]}'", f"it is a number of seconds, {MAX_TIME} at most")
    return int(text)


def origin(product: str, version: str, board: str, state: GitState | None) -> Origin:
    """Return where a release comes from that is made now; `board` may be empty, `state` is git's."""
    from ..release.records import Origin

    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    commit, dirty = (state.commit, state.dirty) if state else ("", False)
    return Origin(product, version, created, board=board, git_commit=commit, dirty=dirty)


def version_from(given: str | None, state: GitState | None, attached: Manifest | None = None) -> str:
    """Return the version of a release: the one `given`, else its manifest's, else git's.

    A manifest has the first characters of a long version only: git's is taken where it begins so. Raises ConfigError
    when there is none, SystemFaultError when git cannot tell it.
    """
    if given is not None:
        return given
    # A tag may hold what no file name and header can, as release/1.2 does
    described = "" if state is None else re.sub(r"[^0-9A-Za-z._+-]", "-", state.description)
    if attached is not None:
        from ..image.manifest import MAX_VERSION

        if attached.version not in ("", described[:MAX_VERSION]):
            return attached.version
    if state is not None and state.fault is not None:
        raise SystemFaultError(
            f"the release has no version: {state.fault.message}", f"{state.fault.hint}; or {NO_VERSION_HINT}"
        )
    if not described:
        raise ConfigError("the release has no version, and the project is in no git repository", NO_VERSION_HINT)
    return described
