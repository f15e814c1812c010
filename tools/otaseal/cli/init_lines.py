"""What `otaseal init` writes into platformio.ini: the hooks, from where others find them, and the options.

What a project says already stays: where it names an update server, nothing is added that says who asks it and how.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ..errors import InputError, OtasealError
from ..pki import Role
from ..pki.authority import CERTIFICATE_FILE, KEY_FILE
from ..pki.store import CHAIN_FILE, Slot
from ..project import boards, setup, source_version
from ..project.config import entries
from ..project.ini import HOOKS, ProjectIni
from ..project.setup import Plan
from . import common, config
from .questions import CA_CERTS, PRODUCT, SIGNING_KEY

SERVER = "custom_otaseal_server"
VERSION = "custom_otaseal_version"
ENVIRONMENTS = "custom_otaseal_environments"
OPERATORS = f"https://{setup.LOCAL}:8444"
"""Where `otaseal serve` listens for operators until told otherwise."""
FIRST_VERSION = "0.1.0"
LIBRARIES = "$PROJECT_LIBDEPS_DIR/$PIOENV/"
ELSEWHERE = (
    "; otaseal is installed on this computer only: before others build this, add it as a git submodule, and change the "
    "paths"
)
_NAMED_OTASEAL = re.compile(r"(?!symlink:)(?:.*[/=\s])?otaseal(?:\.git)?(?:[@#\s].*)?")


def scripts(project: Path, ini: ProjectIni, environments: Sequence[str]) -> list[str]:
    """Return the entries of `extra_scripts`: of a checkout in the project, of its library, else of this installation.

    They are relative to the project where they lie in it, so that others find them.
    """
    checkout = _checkout(project)
    if checkout is None and all(_has_library(project, ini, environment) for environment in environments):
        return [hook.replace(":", f":{LIBRARIES}otaseal/extra_scripts/") for hook in HOOKS]
    scripts = []
    for entry in config.extra_scripts(*([] if checkout is None else [checkout])):
        scope, _, path = entry.partition(":")
        scripts.append(f"{scope}:{_inside(Path(path), project) or path}")
    return scripts


def _inside(path: Path, project: Path) -> str:
    """Return the path as it is written in the project, from its folder; empty where it lies elsewhere."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else ""


def are_outside(entries: Sequence[str]) -> bool:
    """Tell whether the hooks lie where nobody else has them."""
    return any(Path(script.partition(":")[2]).is_absolute() for script in entries)


def _checkout(project: Path) -> Path | None:
    """Return the checkout of otaseal in the project, as a submodule is one: in its folder, or a folder below."""
    for pattern in ("otaseal", "*", "*/*"):
        for loader in sorted(project.glob(f"{pattern}/extra_scripts/{config.LOADER}")):
            if not any(part.startswith(".") for part in loader.relative_to(project).parts):
                return loader.parent.parent
    return None


def _has_library(project: Path, ini: ProjectIni, environment: str) -> bool:
    """Tell whether PlatformIO has installed otaseal as a library of the environment, or will before it builds."""
    installed = project / ".pio" / "libdeps" / environment / "otaseal" / "extra_scripts" / config.LOADER
    dependencies = entries(ini.get(environment, "lib_deps") or "")
    return installed.is_file() or any(_NAMED_OTASEAL.fullmatch(dependency) for dependency in dependencies)


def options(
    arguments: argparse.Namespace, plan: Plan, ini: ProjectIni, environment: str, release: Sequence[str]
) -> dict[str, str]:
    """Return the options that the project needs, whether it has them or not; `release` is what `together` returns."""
    needed = {**boards.filesystem_options(partial(ini.get, environment)), PRODUCT: plan.product}
    if plan.signing_key is not None:
        needed[SIGNING_KEY] = f"file:{common.with_tilde(plan.signing_key)}"
        if arguments.passphrase_file:
            path = common.path(arguments.passphrase_file).resolve()
            if path.is_file() and not path.is_relative_to(plan.project):
                needed["custom_otaseal_passphrase_file"] = common.with_tilde(path)
    needed[CA_CERTS] = _inside(plan.certs, plan.project) or str(plan.certs)
    if source_version.git_state(plan.project, os.environ) is None:
        needed[VERSION] = FIRST_VERSION  # else git says it, and another one for each commit
    if release:
        needed[ENVIRONMENTS] = ", ".join(release)
    return needed | _deploying(plan, ini, environment)


def together(ini: ProjectIni, environments: Sequence[str], product: str) -> list[str]:
    """Return the environments whose images make one release: `environments`, and those that have the product already.

    Empty where it is one alone, and where two are for the same board, of which a release has one image.
    """
    names = [
        name
        for name in ini.environments
        if name in environments or (ini.get(name, PRODUCT) == product and not boards.obstacle(partial(ini.get, name)))
    ]
    return names if 1 < len(names) == len({ini.get(name, "board") for name in names}) else []


def left_out(ini: ProjectIni, environments: Sequence[str], product: str) -> Iterator[tuple[str, str]]:
    """Yield which environment's own list of those that make one release lacks which one of `environments`."""
    for name in together(ini, environments, product):
        listed = re.split(r"[,\s]+", ini.get(name, ENVIRONMENTS) or "")
        yield from ((name, missing) for missing in environments if any(listed) and missing not in listed)


def _deploying(plan: Plan, ini: ProjectIni, environment: str) -> dict[str, str]:
    if ini.get(environment, SERVER) not in (None, "", OPERATORS):
        return {}
    needed = {
        SERVER: OPERATORS,
        "custom_otaseal_server_ca": common.with_tilde(plan.store / Slot.SERVER.value / CERTIFICATE_FILE),
    }
    if not ini.get(environment, "custom_otaseal_token_file"):
        folder = plan.issued(Role.OPERATOR, plan.operator)
        needed["custom_otaseal_operator_cert"] = common.with_tilde(folder / CHAIN_FILE)
        needed["custom_otaseal_operator_key"] = common.with_tilde(folder / KEY_FILE)
    return needed


def edit(
    ini: ProjectIni, environments: Sequence[str], scripts: Sequence[str], arguments: argparse.Namespace, plan: Plan
) -> tuple[ProjectIni, OtasealError | None]:
    """Return the edited file; or the file as it is, and why a person has to edit it."""
    edited, comment = ini, ELSEWHERE if are_outside(scripts) else ""
    release = together(ini, environments, plan.product)
    try:
        for environment in environments:
            needed = options(arguments, plan, ini, environment, release)
            edited = edited.with_lines(environment, scripts, needed, comment)
        for environment in release:
            edited = edited.with_lines(environment, [], {ENVIRONMENTS: ", ".join(release)})
    except InputError as error:
        return ini, error
    return edited, None
