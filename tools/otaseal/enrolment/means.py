"""What a project's options give for an enrolment: the authorities that sign, the server that learns the proof key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import files
from ..errors import ConfigError
from ..keys.passphrase import from_settings
from ..pki import places
from ..pki.store import Slot, Store
from ..settings import Settings
from .bench import Registry, Signing

CERTIFICATE, KEY = "certificate", "key"


def of(
    options: Settings, base: Path, environment: Mapping[str, str], days: int
) -> tuple[Signing | None, Registry | None]:
    """Return who signs and where keys are registered, each as far as `options` name it and want it.

    Paths start at `base`; `days` is how long certificates are valid. Raises ConfigError where there is neither, or not
    what is asked for, and what opening a store or a token raises.
    """
    signing = registry = None
    if options.enroll != KEY and (options.enroll == CERTIFICATE or has_store(options, base, environment)):
        signing = Signing(open_store(options, base, environment), days)
    if options.enroll != CERTIFICATE and (options.enroll == KEY or options.server is not None):
        registry = _registry(options, base, environment)
    if signing is None and registry is None:
        raise ConfigError(
            "there is nothing to enrol a device with: no update server is named, and there are no authorities",
            "set custom_otaseal_server for its proof key; otaseal init makes the authorities for a certificate",
        )
    return signing, registry


def has_store(options: Settings, base: Path, environment: Mapping[str, str]) -> bool:
    """Tell whether the options name a folder of authorities, or the product has one in its place."""
    if options.pki is not None:
        return True
    return options.product is not None and (_directory(options, base, environment) / Slot.DEVICE.value).is_dir()


def open_store(options: Settings, base: Path, environment: Mapping[str, str]) -> Store:
    """Return the store of authorities that the options name, its passphrase tried; raises ConfigError, InputError."""
    ask = from_settings(options.passphrase_file, base, environment)
    return places.open_store(_directory(options, base, environment), Slot.DEVICE, passphrase=ask)


def _directory(options: Settings, base: Path, environment: Mapping[str, str]) -> Path:
    if options.pki is not None:
        return files.resolve_path(options.pki, base)
    if options.product is None:
        raise ConfigError(
            "it is not known whose authorities sign",
            "set custom_otaseal_product, or custom_otaseal_pki to their folder",
        )
    return places.store_path(places.config_home(environment), options.product)


def _registry(options: Settings, base: Path, environment: Mapping[str, str]) -> Registry:
    from ..client import credentials

    client = credentials.connect(options, base, environment)
    if options.product is None:
        raise ConfigError("custom_otaseal_product is not set", "name the product as the update server knows it")
    return Registry(client, options.product)
