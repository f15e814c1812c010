"""The commands that come after `otaseal init`, as a POSIX shell takes them: copied, they run as they stand."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..commands import program
from ..pki import Role
from ..pki.authority import CERTIFICATE_FILE, KEY_FILE
from ..pki.store import CHAIN_FILE, Slot
from ..project import pio
from ..project.ini import ProjectIni
from ..project.setup import SERVER as SERVER_CERTIFICATE
from ..project.setup import Plan
from . import common, questions
from .init_lines import OPERATORS, SERVER, together

RELEASES = "~/otaseal-releases"
MAX_LINE = 100


@dataclass(frozen=True)
class Step:
    """One command, in the pieces that may stand on lines of their own, and what it is for."""

    purpose: str
    pieces: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command on one line."""
        return " ".join(self.pieces)

    def lines(self) -> list[str]:
        """Return the command for reading and for copying: a long one has an option a line."""
        if len(self.command) <= MAX_LINE:
            return [self.command]
        return " \\\n  ".join(self.pieces).split("\n")


def next_commands(ini: ProjectIni, environments: Sequence[str], plan: Plan) -> list[Step]:
    """Return the steps from a project that is set up to one whose first release is published, for `environments`."""
    several = len(ini.environments) > 1
    options = [f" -e {shlex.quote(environment)}" if several else "" for environment in environments]
    released = "".join(options) if together(ini, environments, plan.product) else options[0]
    program = _pio()
    steps = [] if plan.project == Path.cwd() else [Step("go to the project", (f"cd {shlex.quote(str(plan.project))}",))]
    steps += [
        Step("build, and sign firmware.bin.signed", (f"{program} run{''.join(options)}",)),
        *(
            Step(
                f"once, by cable: write firmware and CA certificates{f' for {environment}' if several else ''}",
                (f"{program} run{option} -t uploadall",),
            )
            for environment, option in zip(environments, options, strict=True)
        ),
    ]
    if ini.get(environments[0], SERVER) in (None, "", OPERATORS):
        steps += _serving(questions.named_key(ini, environments, plan.project), plan)
    steps.append(Step("publish the firmware on it", (f"{program} run{released} -t deploy",)))
    enroll = (f"{program} run{options[0]} -t enroll",)
    return [
        *steps,
        Step("if its sketch calls updates.enroll(Serial): let the device on the cable prove itself", enroll),
    ]


def _serving(named: Path | str | None, plan: Plan) -> list[Step]:
    """Return what starts the update server, which has to know the public key in a file."""
    public, steps = Path("signing.pub"), []
    key = plan.signing_key or named
    if isinstance(key, Path):
        public = key.with_suffix(".pub")
    if plan.signing_key is None and not public.exists():
        public = Path("signing.pub")
        shown = f"{program()} key show {shlex.quote(str(named))} --pem > {public}"
        steps.append(Step("write the public key into a file, which the server checks releases with", (shown,)))
    server = plan.issued(Role.SERVER, SERVER_CERTIFICATE)
    pieces = (
        f"{program()} serve",
        "--listen 0.0.0.0:8443",
        f"--store {RELEASES}",
        f"--product {plan.product}={_shell(public)}",
        f"--cert {_shell(server / CHAIN_FILE)}",
        f"--key {_shell(server / KEY_FILE)}",
        f"--operator-ca {_shell(plan.store / Slot.OPERATOR.value / CERTIFICATE_FILE)}",
    )
    return [*steps, Step("in a terminal of its own: start the update server", pieces)]


def _shell(path: Path) -> str:
    """Return `path` for a command line; what a shell would take apart is quoted, and then no shell expands `~`."""
    if not path.is_absolute():
        return shlex.quote(str(path))
    short = common.with_tilde(path)
    return short if shlex.quote(short.removeprefix("~")) == short.removeprefix("~") else shlex.quote(str(path))


def _pio() -> str:
    """Return how PlatformIO is called here."""
    if shutil.which("pio"):
        return "pio"
    path = pio.program()
    if path is not None:
        return shlex.quote(str(path))
    return f"{shlex.quote(sys.executable)} -m platformio" if importlib.util.find_spec("platformio") else "pio"
