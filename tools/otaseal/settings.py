"""Every option of otaseal, once: its name, what it may be, its default and where it can come from.

A value comes from a command-line flag, else the environment (`OTASEAL_<NAME>`), else platformio.ini
(`custom_otaseal_<name>`), else the default; credentials come from one of them as a whole. An unknown `custom_otaseal_*`
name is an error, because a misspelt security option that is silently ignored is worse than a build that stops. Pure:
the caller passes what the environment and the file say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

from .errors import ConfigError
from .names import check_name

INI_PREFIX = "custom_otaseal_"
ENVIRONMENT_PREFIX = "OTASEAL_"

MAX_VALUE_LENGTH = 16 * 1024
"""Characters in one option: generous for a list of certificate files, and no more."""
MAX_COUNTER = 0xFFFF_FFFF
"""The highest security counter: the manifest has 32 bits for it."""
CREDENTIALS = ("token_file", "oidc", "operator_cert", "operator_key")
"""What says to an update server who asks. It comes from one source, the strongest that has any of it: a build server's
token is not shown beside the certificate of the person who wrote platformio.ini."""
CREDENTIAL_VARIABLE = "OTASEAL_TOKEN"
"""The environment variable with the token itself; of the environment's credentials it is the weakest."""
_NUMBER = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True)
class Option:
    """One option: its Settings field, how its text becomes a value, a line of help, and the default."""

    name: str
    parse: Callable[[str, str], Any]
    help: str
    default: Any

    @property
    def ini_name(self) -> str:
        """The name in platformio.ini."""
        return INI_PREFIX + self.name

    @property
    def environment_name(self) -> str:
        """The environment variable that overrides platformio.ini."""
        return ENVIRONMENT_PREFIX + self.name.upper()


def _text(name: str, value: str) -> str:
    lines = value.split("\n")
    if len(lines) > 1:
        raise ConfigError(f"{name} has {len(lines)} lines, '{lines[0]}' the first", "give it one value on one line")
    return value


def _name(name: str, value: str) -> str:
    return check_name(_text(name, value), name, ConfigError)


def _lines(name: str, value: str) -> tuple[str, ...]:
    return tuple(stripped for line in value.splitlines() if (stripped := line.strip()))


def _words(name: str, value: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\s,]+", value.strip(" \t\n,")))


def _counter(name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value) or int(value) > MAX_COUNTER:
        raise ConfigError(f"{name} is '{value[:32]}'", f"use a whole number from 0 to {MAX_COUNTER}")
    return int(value)


def _choice(*choices: str) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        if value not in choices:
            raise ConfigError(f"{name} is '{value}'", f"use one of: {', '.join(choices)}")
        return value

    return parse


def _option(default: Any, parse: Callable[[str, str], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True)
class Settings:
    """What a project asks of otaseal; paths and URIs are still text, relative ones are relative to the project.

    `signing_key` and `passphrase_file` are None when unset, as is `public_key`: then the file that `otaseal key new`
    wrote beside the signing key is taken, or the signing key itself. `next_public_key` makes a bridge release.
    """

    signing_key: str | None = _option(
        None,
        _text,
        "URI of the private key that signs: file:<path>, env:<variable>, pkcs11:<token> or command:<program>",
    )
    public_key: str | None = _option(
        None, _text, "public key to compile into the firmware, if not the signing key's own file"
    )
    next_public_key: str | None = _option(
        None, _text, "for a bridge release: the public key that replaces the signing key's own"
    )
    passphrase_file: str | None = _option(None, _text, "file whose first line unlocks the signing key")
    ca_certs: tuple[str, ...] = _option(
        ("certs",), _lines, "files, folders and globs with the CA certificates that devices trust, one a line"
    )
    expired_certs: str = _option(
        "drop", _choice("drop", "keep", "refuse"), "what to do with a CA certificate that has expired"
    )
    unusable_certs: str = _option(
        "auto", _choice("auto", "refuse", "drop"), "what to do with one that no device can use"
    )
    uploadfs: str = _option(
        "notify", _choice("notify", "on-change"), "after an upload, when the certificates have changed"
    )
    server: str | None = _option(
        None, _text, "the update server's address for operators, as in https://update.local:8444"
    )
    server_ca: str | None = _option(
        None, _text, "file with the authority of that server, if the system does not trust it"
    )
    product: str | None = _option(None, _name, "what the firmware is called on the update server")
    channel: str = _option("stable", _name, "the channel that a deployment goes to")
    provenance: str = _option("no", _choice("no", "yes"), "whether a deployment says, signed, who built it from what")
    log: str = _option("no", _choice("no", "yes"), "whether a deployment enters the release into the product's log")
    builder: str | None = _option(
        None, _text, "who builds, as a URI, for the provenance; default: the workflow, where GitHub runs it"
    )
    rollout: str | None = _option(None, _text, "file with the plan of a deployment's rollout, rollout.toml")
    environments: tuple[str, ...] = _option(
        (), _words, "the environments whose images make one release; deploy in the last of them publishes it"
    )
    version: str | None = _option(None, _text, "the version of a deployment; default: git describe")
    security_counter: int = _option(0, _counter, "devices with the OtaSeal library take no firmware with a lower one")
    compress: str = _option(
        "no", _choice("no", "gzip", "zopfli"), "make firmware.bin.gz.signed beside firmware.bin.signed"
    )
    unverified_updates: str = _option(
        "refuse", _choice("refuse", "allow"), "on the ESP32: what to do with firmware that takes updates unverified"
    )
    sbom: str = _option(
        "no", _choice("no", "yes"), "make firmware.bin.cdx.json, a list of what the firmware is made of"
    )
    lock: str = _option("no", _choice("no", "yes"), "refuse what is not as otaseal.lock has it")
    rehearse: str = _option("yes", _choice("yes", "no"), "whether a deployment is rehearsed before it is published")
    enroll: str = _option(
        "auto", _choice("auto", "certificate", "key"), "what enrolling a device gives: auto is all that there is for it"
    )
    pki: str | None = _option(
        None, _text, "folder of the authorities that sign devices' certificates; default: the product's own"
    )
    token_file: str | None = _option(
        None, _text, "file whose first line is the token for the update server; else OTASEAL_TOKEN"
    )
    oidc: str | None = _option(
        None,
        _choice("github"),
        "whose short-lived token a CI job shows to the update server, in the place of a kept one",
    )
    operator_cert: str | None = _option(None, _text, "in the place of a token: an operator's certificate, chain.pem")
    operator_key: str | None = _option(None, _text, "the private key of that certificate")


OPTIONS: Mapping[str, Option] = {
    item.name: Option(item.name, item.metadata["parse"], item.metadata["help"], item.default)
    for item in fields(Settings)
}


def resolve(
    ini: Mapping[str, str], environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Return the settings from platformio.ini options, environment variables and flags, the later the stronger.

    `ini` maps full option names (`custom_otaseal_...`; others are not looked at) to raw text, `flags` maps field names.
    An empty value counts as unset. Raises ConfigError for an unknown option or a value that does not fit.
    """
    for name in ini:
        if name.lower().startswith(INI_PREFIX.rstrip("_")) and name not in {o.ini_name for o in OPTIONS.values()}:
            raise _unknown(name)
    given = {
        option.name: value for option in OPTIONS.values() if (value := _given(option, ini, environment, flags or {}))
    }
    sources = [given[name][0] for name in CREDENTIALS if name in given]
    if environment.get(CREDENTIAL_VARIABLE, "").strip():
        sources.append(_Source.ENVIRONMENT)
    weaker = {name for name in CREDENTIALS if name in given and given[name][0] is not min(sources)}
    return Settings(**{name: value for name, (_, value) in given.items() if name not in weaker})


class _Source(IntEnum):
    """Where a value comes from, the strongest first."""

    FLAG = 0
    ENVIRONMENT = 1
    INI = 2


def _given(
    option: Option, ini: Mapping[str, str], environment: Mapping[str, str], flags: Mapping[str, str | None]
) -> tuple[_Source, Any] | None:
    """Return the value of an option and its source, None where none gives it; raises ConfigError."""
    for source, name, raw in (
        (_Source.FLAG, f"--{option.name.replace('_', '-')}", flags.get(option.name)),
        (_Source.ENVIRONMENT, option.environment_name, environment.get(option.environment_name)),
        (_Source.INI, option.ini_name, ini.get(option.ini_name)),
    ):
        text = (raw or "").strip()
        if text:
            if len(text) > MAX_VALUE_LENGTH:
                raise ConfigError(f"{name} has {len(text)} characters", f"{MAX_VALUE_LENGTH} are the most")
            return source, option.parse(name, text)
    return None


def _unknown(name: str) -> ConfigError:
    import difflib

    known = [option.ini_name for option in OPTIONS.values()]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"the options are: {', '.join(known)}"
    return ConfigError(f"unknown option '{name}' in platformio.ini", hint)
