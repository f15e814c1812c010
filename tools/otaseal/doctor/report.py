"""What is examined, what a check says of it, and what all of them together mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..image.firmware import Firmware
from ..pki.live import LiveServer, parse_target, probe
from ..project.project import Project
from ..settings import Settings

BUILT = "firmware"
AT_THE_SERVER = ("server", "TLS", "server chain", "publishing")
"""Names of checks, which `examine` gives them."""
TIMEOUT = 10.0  # seconds; the build's own server is near, or it is not there


class Status(Enum):
    """What a check found: `problem` means that an update cannot work, or that a key is in danger.

    `advice` is for what may stay as it is: somebody's choice, or what this project cannot change. It is no next step.
    """

    OK = "ok"
    ADVICE = "advice"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class CheckResult(NamedTuple):
    """What a check yields: the status, what it saw, and the fix, empty where there is nothing to do."""

    status: Status
    message: str
    hint: str = ""


ok = partial(CheckResult, Status.OK)
warning = partial(CheckResult, Status.WARNING)
problem = partial(CheckResult, Status.PROBLEM)
advice = partial(CheckResult, Status.ADVICE)
skipped = partial(CheckResult, Status.SKIPPED)
"""Nothing could be said; the hint is what there has to be first, where a project usually has it."""


@dataclass(frozen=True)
class Check:
    """One line of the report; `message` in the style of an error, `hint` empty where there is nothing to do."""

    name: str
    status: Status
    message: str
    hint: str


@dataclass(frozen=True)
class Subject:
    """Who is examined, and when (aware); `server` False leaves the network alone, `token_file` replaces the option.

    The images of the last build are None where there is none; reading them raises InputError and SystemFaultError.
    """

    project: Project
    now: datetime
    server: bool = True
    token_file: Path | None = None

    @cached_property
    def options(self) -> Settings:
        """The project's options, with the token that replaces its credentials; raises as `Project.settings`."""
        return self.project.with_flags(token_file=None if self.token_file is None else str(self.token_file.absolute()))

    @cached_property
    def built(self) -> Firmware | None:
        """The firmware as the last build made it."""
        path = self.project.firmware
        if not path.is_file():
            return None
        return Firmware(files.read_bounded(path, MAX_IMAGE_SIZE, "firmware"), signed=False)

    @property
    def signed_path(self) -> Path:
        """Where the build leaves the signed image."""
        return self.project.firmware.with_name(f"{self.project.firmware.name}.signed")

    @cached_property
    def signed(self) -> Firmware | None:
        """The signed image of the last build."""
        if not self.signed_path.is_file():
            return None
        return Firmware(files.read_bounded(self.signed_path, MAX_IMAGE_SIZE, "signed firmware"))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the update server that the project names; raises ConfigError for what is not an address."""
        return parse_target(self.project.settings.server or "")

    @cached_property
    def live(self) -> LiveServer:
        """What that server shows a chip, asked once; raises as `probe`."""
        return probe(*self.address, timeout=TIMEOUT)


@dataclass(frozen=True)
class Report:
    """The checks in their order."""

    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        """Whether there is no problem; warnings are none."""
        return all(check.status is not Status.PROBLEM for check in self.checks)

    @property
    def next_step(self) -> Check | None:
        """What to do first: the first problem, else the first warning, else what the first part left out needs.

        What is to be built comes before a server that has nothing to publish yet. None where all is done.
        """
        ranks = (Status.PROBLEM, Status.WARNING, Status.SKIPPED)
        open_checks = [check for status in ranks for check in self.checks if check.status is status and check.hint]
        unbuilt = next((check for check in open_checks if check.name == BUILT and check.status is Status.WARNING), None)
        if unbuilt is not None and open_checks[0].name in AT_THE_SERVER:
            return unbuilt
        return next(iter(open_checks), None)

    def count(self, status: Status) -> int:
        """Return how many checks have this status."""
        return sum(check.status is status for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        step = self.next_step
        return {
            "good": self.good,
            "checks": [
                {"name": check.name, "status": check.status.value, "message": check.message, "hint": check.hint or None}
                for check in self.checks
            ],
            "next": None if step is None else {"check": step.name, "hint": step.hint},
        }
