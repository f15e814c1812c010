"""The server and the credentials that a project's options name, as a client.

One rule for the hooks, the commands, the rehearsal and the doctor: a token, or an operator's certificate with its key,
of the strongest source that names either (`settings`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError, KeyRefusedError
from ..settings import CREDENTIAL_VARIABLE, Settings
from .client import Client, Token
from .github_oidc import GithubToken

MAX_TOKEN_BYTES = 8 * 1024
"""Of an issuer's token; our own have 51."""
_TOKEN = re.compile(rf"[!-~]{{8,{MAX_TOKEN_BYTES}}}")


def connect(options: Settings, base: Path, environment: Mapping[str, str]) -> Client:
    """Return the client of the server that `options` name; paths start at `base`. Raises ConfigError, InputError."""
    if options.server is None:
        raise ConfigError(
            "no update server is named",
            "set custom_otaseal_server in platformio.ini, or OTASEAL_SERVER, or give --server https://host:port",
        )
    certificate = _certificate(options, base)
    token: Token = None
    if options.oidc is not None:
        token = GithubToken.of(environment, options.server)
    elif options.token_file is not None or certificate is None:
        file = None if options.token_file is None else files.resolve_path(options.token_file, base)
        token = load_token(file, environment)
    authority = None if options.server_ca is None else files.resolve_path(options.server_ca, base)
    return Client(options.server, token, authority, certificate)


def load_token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the token in `file` (first line), else in OTASEAL_TOKEN, else None; raises InputError, KeyRefusedError."""
    if file is not None:
        _refuse_open(file, "token file")
        text = files.read_bounded(file, MAX_TOKEN_BYTES, "token file").decode("ascii", "replace")
        token, where = text.partition("\n")[0].strip(), f"'{file}'"
    else:
        token, where = environment.get(CREDENTIAL_VARIABLE, "").strip(), CREDENTIAL_VARIABLE
        if not token:
            return None
    if not _TOKEN.fullmatch(token):
        raise InputError(f"{where} holds no token", "otaseal token new prints one, on the server")
    return token


def _certificate(options: Settings, base: Path) -> tuple[Path, Path] | None:
    chain, key = options.operator_cert, options.operator_key
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise ConfigError(
            "an operator's certificate and its key go together, and one of them is not set",
            "set custom_otaseal_operator_cert and custom_otaseal_operator_key, or give --cert and --cert-key",
        )
    key_file = files.resolve_path(key, base)
    _refuse_open(key_file, "operator's key")
    return files.resolve_path(chain, base), key_file


def _refuse_open(file: Path, what: str) -> None:
    """Raise KeyRefusedError for a secret in a file that others than its owner can read."""
    if (mode := files.open_to_others(file)) is not None:
        raise KeyRefusedError(f"{what} '{file}' is open to others (mode {mode})", f"chmod 600 '{file}'")
