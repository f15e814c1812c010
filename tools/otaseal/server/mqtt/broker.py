"""Which broker, and how it is reached: a file of options, as in

    [mqtt]
    url = mqtts://broker.local:8883
    ca = broker-ca.pem
    certificate = client.pem
    key = client.key

Over TLS with verification, or on this machine without. A password stands in the file alone, and is never printed.
"""

from __future__ import annotations

import configparser
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ... import addresses, files
from ...errors import ConfigError
from ..tls import is_this_machine

MAX_FILE = 16 * 1024
PORTS = {"mqtts": 8883, "mqtt": 1883}
_KNOWN = ("url", "ca", "certificate", "key", "username", "password", "topic", "discovery", "install")
_FILES = ("ca", "certificate", "key")
_TOPIC = re.compile(r"[0-9A-Za-z_-]{1,64}(/[0-9A-Za-z_-]{1,64}){0,3}")


@dataclass(frozen=True)
class Broker:
    """An MQTT broker: `topic` is what all of ours begin with, `discovery` Home Assistant's prefix, "" for none.

    `install`: whether a message may give one device the release out of turn; `secrets` are the files that have any.
    """

    host: str
    port: int
    context: ssl.SSLContext | None = field(repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    topic: str = "otaseal"
    discovery: str = "homeassistant"
    install: bool = False
    secrets: tuple[Path, ...] = field(default=(), repr=False)


def read_broker(path: Path) -> Broker:
    """Return what is in a file; raises ConfigError, InputError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(files.read_bounded(path, MAX_FILE, "broker's file").decode())
        given = dict(parser["mqtt"])
        other = next((name for name in parser.sections() if name != "mqtt"), None)
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"'{path}' has no section [mqtt] of options", "write [mqtt], and below it url = ..."
        ) from error
    if other is not None:
        raise ConfigError(f"'[{other[:32]}]' in '{path}' is no section", "everything stands below [mqtt]")
    for name in given:
        if name not in _KNOWN:
            raise ConfigError(f"'{name[:32]}' in '{path}' is no option", f"there are: {', '.join(_KNOWN)}")
    host, port, is_secure = _address(given.get("url", ""), path)
    _check_pairs(given, path, is_secure=is_secure)
    return Broker(
        host=host,
        port=port,
        context=_context(given, path) if is_secure else None,
        username=given.get("username", ""),
        password=given.get("password", ""),
        topic=_topic(given.get("topic", Broker.topic), path),
        discovery=_topic(given.get("discovery", Broker.discovery), path) if given.get("discovery") != "" else "",
        install=_flag(given.get("install", "no"), path),
        secrets=tuple(_secrets(given, path)),
    )


def _address(url: str, path: Path) -> tuple[str, int, bool]:
    parts = addresses.split_url(url)
    host, port = parts.hostname or "", parts.port
    if not host or parts.scheme not in PORTS or parts.path not in ("", "/") or parts.username is not None:
        raise ConfigError(f"the url in '{path}' is no address of a broker", "write mqtts://host or mqtts://host:port")
    if parts.scheme == "mqtt" and not is_this_machine(host):
        raise ConfigError(
            f"the broker '{host}' in '{path}' is asked without TLS", "write mqtts://; mqtt:// is for this machine alone"
        )
    return host, port or PORTS[parts.scheme], parts.scheme == "mqtts"


def _check_pairs(given: dict[str, str], path: Path, *, is_secure: bool) -> None:
    """Refuse what would count for nothing."""
    for name, needed in (("password", "username"), ("key", "certificate")):
        if given.get(name) and not given.get(needed):
            raise ConfigError(f"'{path}' has a {name} and no {needed}", f"write {needed} = ..., too")
    for name in _FILES:
        if given.get(name) and not is_secure:
            raise ConfigError(
                f"{name} in '{path}' is for TLS, and the url is mqtt://", "write mqtts://, or leave it out"
            )


def _context(given: dict[str, str], path: Path) -> ssl.SSLContext:
    named = {name: files.resolve_path(given[name], path.parent) for name in _FILES if given.get(name)}
    for name, file in named.items():
        if not file.is_file():
            raise ConfigError(f"{name} in '{path}' is '{file}', which is not a file", "give a PEM file")
    ca, certificate, key = (named.get(name) for name in _FILES)
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key, password="")  # nobody is there to be asked for one
    except (OSError, ssl.SSLError) as error:
        which, reason = (
            ", ".join(f"'{file}'" for file in named.values()),
            getattr(error, "strerror", None) or str(error),
        )
        raise ConfigError(f"'{path}' names {which}, and they cannot be used: {reason}", "give PEM files") from error
    return context


def _secrets(given: dict[str, str], path: Path) -> Iterator[Path]:
    if given.get("password"):
        yield path
    if given.get("key"):
        yield files.resolve_path(given["key"], path.parent)


def _topic(text: str, path: Path) -> str:
    if not _TOPIC.fullmatch(text):
        raise ConfigError(f"'{text[:64]}' in '{path}' is no topic of ours", "use letters, digits, '_', '-' and '/'")
    return text


def _flag(text: str, path: Path) -> bool:
    if text not in ("yes", "no"):
        raise ConfigError(f"install in '{path}' is '{text[:32]}'", "write yes or no")
    return text == "yes"
