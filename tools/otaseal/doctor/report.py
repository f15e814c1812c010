"""What is examined, what a check says of it, and what all of them together mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from ..pki.live import LiveServer, look_at, parse_target
from ..project import Project
from ..settings import Settings

__all__ = ["TIMEOUT", "Check", "Outcome", "Report", "Status", "Subject", "ok", "problem", "skipped", "warning"]

TIMEOUT = 10.0  # seconds; the build's own server is near, or it is not there


class Status(Enum):
    """What a check found: `problem` means that an update cannot work, or that a key is in danger."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


Outcome = tuple[Status, str, str]
"""What a check yields: the status, what it saw, and the fix, empty where there is nothing to do."""


@dataclass(frozen=True)
class Check:
    """One line of the report; `message` in the style of an error, `hint` empty where all is well."""

    name: str
    status: Status
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Subject:
    """Who is examined, and when (aware); `server` False leaves the network alone, `token_file` replaces the option."""

    project: Project
    now: datetime
    server: bool = True
    token_file: Path | None = None

    @cached_property
    def options(self) -> Settings:
        """The project's options, with the token that replaces its credentials; raises as `Project.settings`."""
        return self.project.with_flags(token_file=None if self.token_file is None else str(self.token_file.absolute()))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the update server that the project names; raises ConfigError for what is no address."""
        return parse_target(self.project.settings.server or "")

    @cached_property
    def live(self) -> LiveServer:
        """What that server shows a chip, asked once; raises as `look_at`."""
        return look_at(*self.address, timeout=TIMEOUT)


@dataclass(frozen=True)
class Report:
    """The checks in their order."""

    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        """Whether there is no problem; warnings are none."""
        return all(one.status is not Status.PROBLEM for one in self.checks)

    @property
    def next_step(self) -> Check | None:
        """What to repair first: the first problem, else the first warning, None where there is neither."""
        for status in (Status.PROBLEM, Status.WARNING):
            for one in self.checks:
                if one.status is status:
                    return one
        return None

    def count(self, status: Status) -> int:
        """Return how many checks have this status."""
        return sum(one.status is status for one in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        step = self.next_step
        return {
            "good": self.good,
            "checks": [
                {"name": one.name, "status": one.status.value, "message": one.message, "hint": one.hint or None}
                for one in self.checks
            ],
            "next": None if step is None else {"check": step.name, "hint": step.hint},
        }


def ok(message: str) -> Outcome:
    """Return that all is well."""
    return Status.OK, message, ""


def warning(message: str, hint: str) -> Outcome:
    """Return what should be looked at."""
    return Status.WARNING, message, hint


def problem(message: str, hint: str) -> Outcome:
    """Return what keeps an update from working."""
    return Status.PROBLEM, message, hint


def skipped(message: str) -> Outcome:
    """Return why nothing could be said."""
    return Status.SKIPPED, message, ""
