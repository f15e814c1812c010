"""Parameters of queries and fields of JSON bodies, as values; each raises ConfigError for what cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ....errors import ConfigError
from ....release.stranding import Consent
from ..schemas import MAX_DEVICE, MAX_DEVICES, REHEARSALS

CONSENT = tuple(field.name for field in fields(Consent))
"""The fields of a Consent."""


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return whether the parameter `name` is 1; 0, and False, where it is not there."""
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise ConfigError(f"{name} is '{text[:32]}'", "use 0 or 1")
    return text == "1"


def page_size(text: str | None) -> int:
    """Return how many devices a page may have; the most for None."""
    if text is None:
        return MAX_DEVICES
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_DEVICES:
        raise ConfigError(
            f"limit '{text[:32]}' is not a valid number of devices", f"use a whole number from 1 to {MAX_DEVICES}"
        )
    return int(text)


def rehearsal(value: str | None) -> str:
    """Return what became of a rehearsal at the operator's, empty for None."""
    if value is None:
        return ""
    if value not in REHEARSALS:
        raise ConfigError(f"rehearsal '{value[:32]}' is unknown", f"say one of {', '.join(REHEARSALS)}")
    return value


def consent(body: Mapping[str, Any]) -> Consent:
    """Return what the operator agrees to: the fields of CONSENT, each true or false."""
    for name in CONSENT:
        if type(body.get(name, False)) is not bool:
            raise ConfigError(f"{name} is '{str(body[name])[:32]}'", "use true or false")
    return Consent(**{name: body[name] for name in CONSENT if name in body})


def device_name(body: Mapping[str, Any]) -> str:
    """Return the field `device`."""
    device = body.get("device")
    if not isinstance(device, str) or not 0 < len(device) <= MAX_DEVICE:
        raise ConfigError("no device is named", "name it in the field 'device', as otaseal devices lists it")
    return device
