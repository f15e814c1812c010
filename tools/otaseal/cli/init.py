"""`otaseal init`: everything that a PlatformIO project needs before its first signed build, in one command."""

from __future__ import annotations

import argparse
import difflib
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError
from ..keys import passphrase
from ..pki import Role, places
from ..pki.authority import load_private_key
from ..pki.certificate import parse_certificates
from ..pki.profile import subject_alternative_names
from ..project import ini as project_ini
from ..project import partitions, setup
from ..project.boards import FILESYSTEM, PICO, family
from ..project.config import INI_NAME, MAX_SIZE
from ..project.ini import ProjectIni
from ..project.setup import Plan
from . import common, init_commands, init_lines, questions, stores
from .init_lines import VERSION
from .questions import SIGNING_KEY

ELSEWHERE = (
    "the hooks lie outside of the project, at a path of this machine; where others build it too,"
    " add otaseal as a git submodule and change the paths"
)
MAX_IGNORE_SIZE = 1024 * 1024


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(
        subparsers, "init", _init, example="otaseal init --server-name update.local --server-name 192.168.178.123"
    )
    parser.add_argument("--project", type=common.path, default=Path(), metavar="DIR", help="default: where you are")
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="NAME", help="environment of platformio.ini"
    )
    parser.add_argument("--product", metavar="NAME", help="default: the folder's name")
    parser.add_argument(
        "--server-name", action="append", default=[], metavar="HOST", help="host name or address of the update server"
    )
    parser.add_argument("--operator", metavar="NAME", help="who may publish updates; default: your login name")
    parser.add_argument("--signing-key", type=common.path, metavar="FILE", help="default: ~/.config/otaseal/keys/...")
    parser.add_argument(
        "--store", type=common.path, metavar="DIR", help="authorities; default: ~/.config/otaseal/pki/..."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--passphrase-file", metavar="FILE", help="lock the keys with the first line of FILE")
    choice.add_argument("--no-passphrase", action="store_true", help="do not lock them: the files' mode protects them")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be made")


@dataclass(frozen=True)
class _Change:
    """A file of the project, as it is and as it will be."""

    path: Path
    old: str
    new: str

    @property
    def differs(self) -> bool:
        """Whether anything changes."""
        return self.new != self.old

    def write(self) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode) if self.path.exists() else files.PUBLIC_MODE
        files.write_atomic(self.path.resolve(), self.new.encode(errors="surrogateescape"), mode)

    def diff(self) -> str:
        old, new = (text.splitlines(keepends=True) for text in (self.old, self.new))
        shown = difflib.unified_diff(old, new, self.path.name, f"{self.path.name} (new)")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in shown)


def _init(arguments: argparse.Namespace) -> int:
    project = arguments.project.resolve()
    ini = _read_ini(project)
    environments = questions.environments(arguments, ini)
    plan = questions.plan(arguments, project, ini, environments)
    setup.validate(plan)
    scripts = init_lines.scripts(project, ini, environments)
    edited, refusal = init_lines.edit(ini, environments, scripts, arguments, plan)
    changes = [_ignore(project), _Change(project / INI_NAME, old=ini.text, new=edited.text)]
    steps = [] if plan.signing_key else [_row("signing key", str(ini.get(environments[0], SIGNING_KEY)), "kept")]
    steps += _make(plan, arguments)
    commands = init_commands.next_commands(ini, environments, plan)
    options = _options(ini, environments, plan, arguments)
    notes = _notes(ini, edited, environments, plan, arguments)
    if edited is not ini and init_lines.are_outside(scripts):
        notes.append(ELSEWHERE)
    steps += [_apply(change, dry_run=arguments.dry_run) for change in changes]
    report = {
        "project": str(project),
        "product": plan.product,
        "environments": environments,
        "steps": steps,
        "lines_to_add": [] if refusal is None else project_ini.lines_to_add(scripts, options),
        "notes": notes,
        "next": [command.command for command in commands],
        "changed": {change.path.name: change.diff() for change in changes if change.differs},
    }
    if arguments.json:
        common.show(arguments, report)
    else:
        _print(report, commands)
    if refusal is not None:
        raise refusal
    return 0


def _read_ini(project: Path) -> ProjectIni:
    file = project / INI_NAME
    if not file.is_file():
        raise InputError(
            f"'{project}' is not a PlatformIO project",
            "make one with 'pio project init --board <board>', or name its folder with --project",
        )
    return project_ini.parse(files.read_bounded(file, MAX_SIZE, "project"), project, os.environ)


def _options(ini: ProjectIni, environments: Sequence[str], plan: Plan, arguments: argparse.Namespace) -> dict[str, str]:
    """Return the options that any of the environments needs."""
    release = init_lines.together(ini, environments, plan.product)
    needed: dict[str, str] = {}
    for environment in environments:
        needed |= init_lines.options(arguments, plan, ini, environment, release)
    return needed


def _apply(change: _Change, *, dry_run: bool) -> dict[str, str]:
    """Write a change unless it is only to be shown, and return what became of the file."""
    if change.differs and not dry_run:
        change.write()
    state = "kept" if not change.differs else "would edit" if dry_run else "edited"
    return _row(change.path.name, str(change.path), state)


def _row(what: str, path: str, state: str) -> dict[str, str]:
    return {"what": what, "path": path, "state": state}


def _print(report: Mapping[str, Any], commands: Sequence[init_commands.Step]) -> None:
    for step in report["steps"]:
        print(f"{step['state']:<10} {step['what']:<21} {step['path']}")
    for diff in report["changed"].values():
        print(f"\n{diff}", end="")
    for note in report["notes"]:
        print(f"otaseal: note: {note}", file=sys.stderr)
    if report["lines_to_add"]:
        print("\nadd to each environment:", *report["lines_to_add"], sep="\n  ")
    print("\nnext:")
    for command in commands:
        print(f"  {command.purpose}:", *command.lines(), sep="\n    ")


def _ignore(project: Path) -> _Change:
    path = project / ".gitignore"
    old = files.read_bounded(path, MAX_IGNORE_SIZE, "list").decode(errors="surrogateescape") if path.exists() else ""
    return _Change(path, old=old, new=setup.ignore_lines(old))


def _make(plan: Plan, arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Make what is missing; return what each thing is, where, and what became of it."""
    now, secret = stores.now(), None
    if not arguments.dry_run and any(step.locked and not step.is_done() for step in setup.steps(plan, now, None)):
        secret = _secret(plan, arguments)
    rows = []
    for step in setup.steps(plan, now, secret):
        state = "kept" if step.is_done() else "would make" if arguments.dry_run else "made"
        if state == "made":
            step.make()
        rows.append(_row(step.what, str(step.path), state))
    return rows


def _secret(plan: Plan, arguments: argparse.Namespace) -> bytes | None:
    """Return the one passphrase of a product's keys: that of those that are locked already, or a new one."""
    keys = plan.private_keys()
    locked = next((key for key in keys if key.exists() and places.is_locked(key)), None)
    new = not arguments.no_passphrase and not all(key.exists() for key in keys)
    if locked is None and not new:
        return None
    file = common.options(passphrase_file=arguments.passphrase_file).passphrase_file
    if locked is None:
        return passphrase.ask_new(f"the keys of '{plan.product}'", file, os.environ) or None
    secret = stores.locked_by(locked, arguments.passphrase_file)
    load_private_key(locked.read_bytes(), secret)  # here, before something new is locked by a typing error
    return secret


def _notes(
    ini: ProjectIni, edited: ProjectIni, environments: Sequence[str], plan: Plan, arguments: argparse.Namespace
) -> list[str]:
    notes = []
    if plan.asked_product:
        notes.append(f"the product is called '{plan.product}': '{plan.asked_product}' is not a valid name for a server")
    if edited.get(environments[0], VERSION) and not ini.get(environments[0], VERSION):
        notes.append(f"git knows no version of this project: {VERSION} has that of the next release; raise it for each")
    notes += [
        f"{init_lines.ENVIRONMENTS} of '{name}' lacks '{missing}': add it there, so that one release has all boards"
        for name, missing in init_lines.left_out(ini, environments, plan.product)
    ]
    if arguments.signing_key and plan.signing_key is None:
        notes.append(f"--signing-key is not used: platformio.ini names '{ini.get(environments[0], SIGNING_KEY)}'")
    for environment in environments:
        get = partial(ini.get, environment)
        filesystem = get(FILESYSTEM)
        if filesystem not in (None, "littlefs") and family(get) is not PICO:
            notes.append(f"{FILESYSTEM} of '{environment}' is '{filesystem}', and the device's example mounts littlefs")
        one_slot = partitions.one_slot(get, plan.project)
        if one_slot:
            notes.append(
                f"'{environment}' can take no update over the air: {partitions.NO_ROOM.format(one_slot)};"
                f" {partitions.ADVICE}"
            )
    chain = plan.issued(Role.SERVER, setup.SERVER) / "chain.pem"
    if arguments.server_name and chain.exists():
        covered = set(parse_certificates(chain.read_bytes())[0].names)
        notes += [
            f"the server certificate is not for '{name}': otaseal pki server NAME --name {name} issues another"
            for name in arguments.server_name
            if not {str(entry.value) for entry in subject_alternative_names([name])} <= covered
        ]
    return notes
