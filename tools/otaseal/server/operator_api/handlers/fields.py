"""What handlers read in a request's body and query: each function raises ConfigError for what cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ....errors import ConfigError
from ..parameters import MAX_DEVICE, MAX_DEVICES


def device_in(body: Mapping[str, Any]) -> str:
    """Return the device that the field `device` names."""
    device = body.get("device")
    if not isinstance(device, str) or not 0 < len(device) <= MAX_DEVICE:
        raise ConfigError("no device is named", "name it in the field 'device', as otaseal devices lists it")
    return device


def text_in(body: Mapping[str, Any], name: str) -> str | None:
    """Return a text, None where there is none."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{name} is '{str(value)[:32]}'", "give a text")
    return value


def tags_in(body: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return a list of texts, none where there is none."""
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ConfigError(f"{name} is '{str(value)[:32]}'", "give a list of tags")
    return frozenset(value)


def flag_in(body: Mapping[str, Any], name: str) -> bool:
    """Return whether a field is true; it is false where it is missing."""
    value = body.get(name, False)
    if type(value) is not bool:
        raise ConfigError(f"{name} is '{str(value)[:32]}'", "use true or false")
    return value


def flag_of(query: Mapping[str, str], name: str) -> bool:
    """Return whether a parameter is 1; it is 0 where it is missing."""
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise ConfigError(f"{name} is '{text[:32]}'", "use 0 or 1")
    return text == "1"


def page_of(query: Mapping[str, str]) -> tuple[str, int]:
    """Return which page of a list is meant: behind which name, and of how many rows at most."""
    after, limit = query.get("after", ""), query.get("limit", str(MAX_DEVICES))
    if len(after) > MAX_DEVICE:
        raise ConfigError(f"after '{after[:32]}...' is no device's name", "give the `next` of the page before")
    if not re.fullmatch("[0-9]{1,9}", limit) or not 1 <= int(limit) <= MAX_DEVICES:
        raise ConfigError(
            f"limit '{limit[:32]}' is not a valid number of devices", f"use a whole number from 1 to {MAX_DEVICES}"
        )
    return after, int(limit)
