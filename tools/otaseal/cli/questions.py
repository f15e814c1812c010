"""What `otaseal init` has to know: from its options, else from what the project says already, else from a person."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError
from ..keys.key_uri import split
from ..keys.public import OWN_KEY_HINT
from ..names import check_name, mended
from ..pki import Role
from ..pki.profile import check_holder
from ..project import setup
from ..project.ini import ProjectIni
from ..project.setup import Plan
from . import stores

__all__ = ["CA_CERTS", "PRODUCT", "SIGNING_KEY", "environments", "named_key", "plan"]

CA_CERTS, SIGNING_KEY, PRODUCT = "custom_otaseal_ca_certs", "custom_otaseal_signing_key", "custom_otaseal_product"


def environments(ini: ProjectIni, asked: Sequence[str]) -> list[str]:
    """Return the environments to set up: those asked for, or the only one; raises ConfigError."""
    known = ini.environments
    unknown = [name for name in asked if name not in known]
    if unknown or not known:
        what = f"platformio.ini has no environment '{unknown[0]}'" if unknown else "platformio.ini has no [env:...]"
        raise ConfigError(what, f"it has: {', '.join(known)}" if known else "begin with 'pio project init'")
    if asked or len(known) == 1:
        return list(dict.fromkeys(asked or known))
    answer = _ask(f"environments ({' '.join(known)})", "", "platformio.ini has several environments", "--env")
    return environments(ini, answer.split())


def _ask(what: str, default: str, missing: str, option: str) -> str:
    """Return what is typed at the terminal; raises ConfigError where there is none, or nothing is typed."""
    answer = ""
    if _has_terminal():
        try:
            answer = input(f"{what} [{default}]: " if default else f"{what}: ").strip()
        except EOFError:
            print()
        answer = answer or default
    if not answer:
        raise ConfigError(missing, f"say which with {option}")
    return answer


def plan(arguments: argparse.Namespace, project: Path, ini: ProjectIni, environments: Sequence[str]) -> Plan:
    """Return what is to exist; raises ConfigError for what nobody can be asked, InputError for a key that is lost."""
    named = named_key(ini, environments, project)
    product, asked = _product(arguments.product, project, _settled_product(ini, environments, named))
    key: Path | None = arguments.signing_key or stores.signing_key_path(product)
    if named is not None and all(ini.get(environment, SIGNING_KEY) for environment in environments):
        key = None
    store = arguments.store or stores.store_path(product)
    certs, names = _certs(ini, environments[0], project), tuple(arguments.server_name)
    draft = Plan(project, product, key, store, certs, names, _operator(arguments), asked)
    if names or (draft.issued(Role.SERVER, setup.SERVER) / "chain.pem").exists():
        return draft
    hint = "--server-name, as in --server-name update.local --server-name 192.168.178.123"
    answer = _ask(
        "update server's host names and addresses", "", "no name or address of the update server is given", hint
    )
    return replace(draft, server_names=tuple(answer.replace(",", " ").split()))


def named_key(ini: ProjectIni, environments: Sequence[str], project: Path) -> Path | str | None:
    """Return the signing key that the project names already, its path if it is a file; raises InputError if missing."""
    uri = next((found for environment in environments if (found := ini.get(environment, SIGNING_KEY))), None)
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
    products = list(dict.fromkeys(found for environment in environments if (found := ini.get(environment, PRODUCT))))
    if len(products) > 1:
        raise ConfigError(f"the environments have several products: {', '.join(products)}", "set one up: --env NAME")
    if products:
        return check_name(products[0], PRODUCT, ConfigError)
    if isinstance(named, Path) and named.parent == stores.signing_key_path(named.parent.name).parent:
        return mended(named.parent.name) or None
    return None


def _product(asked: str | None, project: Path, settled: str | None) -> tuple[str, str]:
    """Return the product's name, and what was asked for in its place, empty unless it had to be mended."""
    if settled is not None:
        if asked and mended(asked) != settled:
            raise ConfigError(
                f"--product '{asked}' is another product than the project's, '{settled}'",
                f"leave it out, or change {PRODUCT} in platformio.ini first",
            )
        return settled, ""
    text = asked or _ask_product(project)
    name = mended(text) or check_name(text, "product", ConfigError)
    return name, "" if name == text else text


def _ask_product(project: Path) -> str:
    name = mended(project.name)
    if name and not _has_terminal():
        return project.name
    return _ask("product", name, f"the folder's name '{project.name}' cannot be a product's", "--product")


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


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
