"""What a build says of itself, in its manifest and in the OtaSeal library: the options, the board, and what git says.

Asked for while the hooks are attached, because the header and the signed image depend on it: a version that changes has
to be in the next build. Without a product nothing is asked, and nothing is said.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..project import source_version
from ..project.source_version import GitState
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from ..image.manifest import Claim


def for_build(env: build.Env, options: Settings) -> Claim | None:
    """Return the claim of this build, None without a product; its time is SOURCE_DATE_EPOCH, else the commit's, else 0.

    Raises InputError for a version that cannot be used, ConfigError for a wrong SOURCE_DATE_EPOCH.
    """
    if options.product is None:
        return None
    from ..image.manifest import Claim
    from ..release.records import check_version

    # The IDE asks for nothing that depends on the version
    state = None if env.IsIntegrationDump() else git_state(env)
    version = options.version
    if version is None:
        version = "" if state is None or state.fault else source_version.version_from(None, state)
    build_time = source_version.source_date(os.environ)
    if build_time is None:
        build_time = 0 if state is None else state.time
    version = check_version(version) if version else ""
    return Claim(options.product, env.subst("$BOARD"), version, options.security_counter, build_time)


def for_file(claim: Claim, firmware: Path) -> Claim:
    """Return `claim` with the time when `firmware` was made, unless SOURCE_DATE_EPOCH says it."""
    if source_version.source_date(os.environ) is not None:
        return claim
    return replace(claim, build_time=int(firmware.stat().st_mtime))


def git_state(env: build.Env) -> GitState | None:
    """Return what git said of the project when it was first asked in this run: what is built now may change files."""
    return _git_state(build.path(env, "."))


def warn_of_git(env: build.Env) -> None:
    """Say once in a run that git cannot tell what it is asked for, and why."""
    state = git_state(env)
    if state is not None and state.fault is not None:
        _warn(f"git tells neither version nor commit nor time: {state.fault.message}; {state.fault.hint}")


@cache
def _git_state(project: Path) -> GitState | None:
    return source_version.git_state(project, os.environ)


@cache
def _warn(message: str) -> None:
    build.warn(message)
