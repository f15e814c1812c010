"""Repositories of git, whole and broken: what a container, a move or a crash makes of a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support import peers


@dataclass(frozen=True)
class Broken:
    """A folder of which git, run in `environment`, can tell nothing; what is said of it then, and the fix."""

    folder: Path
    message: str
    hint: str
    environment: Mapping[str, str] = field(default_factory=dict)


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` as a person with a name, whatever hook of git runs the tests; return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = [peers.tool("git", "git"), *identity, *arguments]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def repository(folder: Path, tag: str = "v1.2.3") -> Path:
    """Make a repository with one commit at `folder`, which may exist and not be empty, and return it."""
    folder.mkdir(exist_ok=True)
    (folder / "README").write_text("a project\n")
    git(folder, "init", "-q")
    git(folder, "add", "README")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "tag", tag)
    return folder


def of_another_user(parent: Path) -> Broken:
    """As a container sees a checkout that is mounted into it; git itself is told so by a variable of its own tests."""
    folder, tools = repository(parent / "theirs"), parent / "tools"
    tools.mkdir()
    wrapper = tools / "git"
    wrapper.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec "{peers.tool("git", "git")}" "$@"\n')
    wrapper.chmod(0o755)
    hint = f"git config --global --add safe.directory '{folder}'"
    return Broken(folder, "belongs to another user", hint, {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"})


def worktree_without_its_repository(parent: Path) -> Broken:
    """As a container sees a worktree that is mounted without the repository that it belongs to."""
    main, folder = repository(parent / "main"), parent / "worktree"
    git(main, "worktree", "add", "-q", str(folder))
    shutil.rmtree(main)
    return Broken(folder, f"names the git directory '{main}/.git/worktrees/worktree', which is not there", "mount it")


def damaged_index(parent: Path) -> Broken:
    folder = repository(parent / "damaged")
    index = folder / ".git" / "index"
    index.write_bytes(bytes(index.stat().st_size))
    return Broken(folder, "git fails: ", "repair it")


def without_its_head(parent: Path) -> Broken:
    """What git no longer takes for a repository, although its index is there."""
    folder = repository(parent / "headless")
    (folder / ".git" / "HEAD").unlink()
    return Broken(folder, r"git sees no repository in '.*headless/\.git'", "repair it")


def without_git(parent: Path) -> Broken:
    folder, nothing = repository(parent / "ungitted"), parent / "nothing"
    nothing.mkdir()
    return Broken(folder, "git is not installed", "install git", {"PATH": str(nothing)})


BROKEN: Mapping[str, Callable[[Path], Broken]] = {
    make.__name__: make
    for make in (of_another_user, worktree_without_its_repository, damaged_index, without_its_head, without_git)
}
