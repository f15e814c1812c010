"""Where a build comes from: what git says, what it cannot say, and that no other repository is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otaseal.errors import ConfigError, SystemFaultError
from otaseal.image.manifest import Manifest, name_id
from otaseal.project.source_version import GitState, git_state, version_from
from support.repositories import BROKEN, git, repository


def state(folder: Path, **environment: str) -> GitState | None:
    return git_state(folder, {**os.environ, **environment})


def test_what_git_says(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", tag="release/1.2")
    (folder / "deep").mkdir()
    commit, time = git(folder, "rev-parse", "HEAD"), int(git(folder, "show", "-s", "--format=%ct", "HEAD"))
    clean = GitState("release/1.2", commit, dirty=False, time=time)
    assert state(folder) == state(folder / "deep") == clean
    assert version_from(None, clean) == "release-1.2"
    (folder / "README").write_text("changed\n")
    assert state(folder) == GitState("release/1.2-dirty", commit, dirty=True, time=time)


def test_no_repository_and_no_commit_are_answers(tmp_path: Path) -> None:
    assert state(tmp_path) is None
    assert state(tmp_path, PATH=str(tmp_path)) is None, "no git is needed to know it"
    git(tmp_path, "init", "-q")
    assert state(tmp_path) is None
    with pytest.raises(ConfigError, match="the release has no version"):
        version_from(None, None)


@pytest.mark.parametrize("name", BROKEN)
def test_where_git_cannot_tell_it_says_why(name: str, tmp_path: Path) -> None:
    broken = BROKEN[name](tmp_path)
    found = state(broken.folder, **broken.environment)
    assert found is not None
    assert found.fault is not None
    assert (found.description, found.commit, found.time) == ("", "", 0)
    with pytest.raises(SystemFaultError, match=f"the release has no version: .*{broken.message}") as refusal:
        version_from(None, found)
    assert broken.hint in refusal.value.hint
    assert "--version" in refusal.value.hint
    assert version_from("1.0", found) == "1.0"
    assert version_from(None, found, Manifest(name_id("blink"), version="2.0")) == "2.0"


def test_another_repository_that_a_hook_of_git_names_is_not_asked(tmp_path: Path) -> None:
    ours, theirs = repository(tmp_path / "ours", "ours"), repository(tmp_path / "theirs", "theirs")
    misled = state(ours, GIT_DIR=str(theirs / ".git"), GIT_WORK_TREE=str(theirs), GIT_INDEX_FILE="nowhere")
    assert misled == state(ours)
    assert misled is not None
    assert misled.description == "ours"
    alone = tmp_path / "alone"
    alone.mkdir()
    assert state(alone, GIT_DIR=str(theirs / ".git")) is None


def test_whom_git_trusts_is_the_users_to_say(tmp_path: Path) -> None:
    broken = BROKEN["of_another_user"](tmp_path)
    said = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(broken.folder)}
    found = state(broken.folder, **broken.environment, **said)
    assert found is not None
    assert found.fault is None


@pytest.mark.parametrize(
    ("given", "description", "said", "version"),
    [
        ("1.0", "v2", "3", "1.0"),
        (None, "v2", "3", "3"),
        (None, "v2", "", "v2"),
        (None, "", "3", "3"),
        (None, "1.2.3-rc.1-4-g0123456789abcdef", "1.2.3-rc.1-4-g0123456789abcd", "1.2.3-rc.1-4-g0123456789abcdef"),
        (None, "1.2.3-dirty", "1.2.3", "1.2.3"),
    ],
)
def test_which_version_counts(given: str | None, description: str, said: str, version: str) -> None:
    told = GitState(description, "0" * 40, dirty=False) if description else None
    assert version_from(given, told, Manifest(name_id("blink"), version=said)) == version
