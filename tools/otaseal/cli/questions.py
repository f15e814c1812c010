"""What `otaseal init` has to know: from its options, else from what the project says already, else from a person."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError
from ..keys.key_uri import split
from ..keys.public import OWN_KEY_HINT
from ..names import check_name, normalised
from ..pki import Role
from ..pki.profile import check_holder
from ..project import boards, setup
from ..project.ini import ProjectIni
from ..project.setup import Plan
from . import stores

CA_CERTS, SIGNING_KEY, PRODUCT = "custom_otaseal_ca_certs", "custom_otaseal_signing_key", "custom_otaseal_product"


def environments(arguments: argparse.Namespace, ini: ProjectIni) -> list[str]:
    """Return the environments to set up: those of `--env`, the only one that can be, or what is answered.

    Raises ConfigError, and for one that nothing of otaseal works in, too.
    """
    known, chosen = ini.environments, list(arguments.env)
    if not known:
        raise ConfigError("platformio.ini has no [env:...]", "begin with 'pio project init'")
    if not chosen:
        chosen = [name for name in known if not boards.obstacle(partial(ini.get, name))] or list(known)
    if len(chosen) > 1 and not arguments.env:
        question = f"which of the environments {', '.join(chosen)} to set up, separated by spaces"
        missing = f"platformio.ini has several environments: {', '.join(chosen)}"
        answer = _ask(arguments, question, missing=missing, option="--env, once for each")
        chosen = answer.replace(",", " ").split()
    for name in chosen:
        if name not in known:
            raise ConfigError(f"platformio.ini has no environment '{name}'", f"it has: {', '.join(known)}")
        obstacle = boards.obstacle(partial(ini.get, name))
        if obstacle:
            raise ConfigError(f"environment '{name}' cannot be set up: {obstacle}", "name another one with --env")
    return list(dict.fromkeys(chosen))


def _ask(arguments: argparse.Namespace, question: str, *, missing: str, option: str, default: str = "") -> str:
    """Return what is typed at the terminal; raises ConfigError where nobody can be asked, or nothing is typed."""
    answer = ""
    if _can_ask(arguments):
        try:
            answer = input(f"{question} [{default}]: " if default else f"{question}: ").strip() or default
        except EOFError:
            print()
    if not answer:
        raise ConfigError(missing, f"say which with {option}")
    return answer


def _can_ask(arguments: argparse.Namespace) -> bool:
    """Tell whether a person is at the terminal: who wants JSON is a script."""
    return not arguments.json and sys.stdin is not None and sys.stdin.isatty()


def plan(arguments: argparse.Namespace, project: Path, ini: ProjectIni, environments: Sequence[str]) -> Plan:
    """Return what is to exist; raises ConfigError for what nobody can be asked, InputError for a key that is lost."""
    named = named_key(ini, environments, project)
    product, asked = _product(arguments, project, _settled_product(ini, environments, named))
    key: Path | None = arguments.signing_key or stores.signing_key_path(product)
    if named is not None and all(ini.get(environment, SIGNING_KEY) for environment in environments):
        key = None
    store = arguments.store or stores.store_path(product)
    names = tuple(arguments.server_name)
    draft = Plan(
        project=project,
        product=product,
        signing_key=key,
        store=store,
        certs=_certs(ini, environments[0], project),
        server_names=names,
        operator=_operator(arguments),
        asked_product=asked,
    )
    if names or (draft.issued(Role.SERVER, setup.SERVER) / "chain.pem").exists():
        return draft
    hint = "--server-name, as in --server-name update.local --server-name 192.168.178.123"
    question, missing = "update server's host names and addresses", "no name or address of the update server is given"
    answer = _ask(arguments, question, missing=missing, option=hint)
    return replace(draft, server_names=tuple(answer.replace(",", " ").split()))


def named_key(ini: ProjectIni, environments: Sequence[str], project: Path) -> Path | str | None:
    """Return the signing key that the project names already, its path if it is a file; raises InputError if missing."""
    uri = next((uri for environment in environments if (uri := ini.get(environment, SIGNING_KEY))), None)
    if uri is None or not uri.startswith("file:"):
        return uri
    path = files.resolve_path(split(uri)[1], project)
    if not path.exists():
        raise InputError(
            f"platformio.ini names the signing key '{path}', which does not exist",
            f"{OWN_KEY_HINT}; or remove the line",
        )
    return path


def _settled_product(ini: ProjectIni, environments: Sequence[str], named: Path | str | None) -> str | None:
    """Return the product that the project names already, or whose signing key it names; raises ConfigError."""
    products = list(dict.fromkeys(name for environment in environments if (name := ini.get(environment, PRODUCT))))
    if len(products) > 1:
        raise ConfigError(f"the environments have several products: {', '.join(products)}", "set one up: --env NAME")
    if products:
        return check_name(products[0], PRODUCT, ConfigError)
    if isinstance(named, Path) and named.parent == stores.signing_key_path(named.parent.name).parent:
        return normalised(named.parent.name) or None
    return None


def _product(arguments: argparse.Namespace, project: Path, settled: str | None) -> tuple[str, str]:
    """Return the product's name, and what was asked for in its place, empty unless it had to be mended."""
    asked: str = arguments.product or ""
    if settled is not None:
        if asked and normalised(asked) != settled:
            raise ConfigError(
                f"--product '{asked}' is another product than the project's, '{settled}'",
                f"leave it out, or change {PRODUCT} in platformio.ini first",
            )
        return settled, ""
    suggested = normalised(project.name)
    if not asked and suggested and not _can_ask(arguments):
        asked = project.name
    missing = "no product is named" if suggested else f"the folder's name '{project.name}' cannot be a product's"
    text = asked or _ask(arguments, "product", missing=missing, option="--product", default=suggested)
    name = normalised(text) or check_name(text, "product", ConfigError)
    return name, "" if name == text else text


def _operator(arguments: argparse.Namespace) -> str:
    if arguments.operator:
        return str(arguments.operator)
    try:
        return check_holder(getpass.getuser())
    except (OSError, KeyError, ConfigError):  # a user without a name, as in a container, or none for a certificate
        return "operator"


def _certs(ini: ProjectIni, environment: str, project: Path) -> Path:
    """Return the folder from which the project packs CA certificates."""
    entries = (ini.get(environment, CA_CERTS) or "certs").split("\n")
    for entry in (text.strip() for text in entries):
        path = files.resolve_path(entry, project)
        if entry and not set(entry) & set("*?[") and (path.is_dir() or not path.suffix):
            return path
    raise ConfigError(f"{CA_CERTS} names no folder", "add one for the CA certificates, such as certs")
