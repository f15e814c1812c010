"""The plan of a rollout as fields: what `rollout.toml` has, what is sent to the server, and what a pointer file keeps.

Pure. Parsing returns whole waves, or raises ConfigError with the wave's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..names import TAG
from ..pki.profile import MAC_ADDRESS
from .evidence import DEVICE_PREFIXES
from .rollout import MIN_OUTCOMES
from .waves import MAX_NAME, MAX_NAMES, MAX_PATIENCE, MAX_SOAK, MAX_WAVES, Plan, Wave
from .windows import parse_window

WAVE_FIELDS = (
    *("percent", "tags", "devices", "window", "days", "zone"),
    *("soak", "answers", "max_failed", "approval"),
)
SHARED = ("window", "days", "zone", "soak", "answers", "approval")
"""What a file may say once for all its waves."""
LIMITS = ("max_failed", "patience")
"""What a file may say of the rollout as a whole, as the options of the command line do."""
MAX_ANSWERS = 100_000
ISSUER = "write oidc:github#repo:me/blink:environment:release, or oidc:https://...#..., as otaseal audit lists it"
NAMED = "give its MAC address, or name it as otaseal devices lists it"
_UNITS = {"": 1, "m": 1, "h": 60, "d": 24 * 60}
_DURATION = re.compile("([0-9]{1,6})([mhd]?)")
_NAME = re.compile(f"[!-~]{{1,{MAX_NAME}}}")
_OPERATOR = re.compile("[!-~]{1,512}")


class PlanFile(NamedTuple):
    """What `rollout.toml` says: the waves, and of the rollout what it halts by, None where it says nothing."""

    waves: tuple[Wave, ...]
    max_failed: int | None = None
    patience: int | None = None


def parse_file(fields: Mapping[str, Any]) -> PlanFile:
    """Return what a file with these fields says; raises ConfigError."""
    _check_names(fields, ("wave", *SHARED, *LIMITS), "the plan")
    waves = fields.get("wave")
    if not isinstance(waves, list) or not all(isinstance(wave, dict) for wave in waves):
        raise ConfigError("the plan has no waves", "begin each one with a line [[wave]]")
    shared = {name: fields[name] for name in SHARED if name in fields}
    max_failed, patience = (fields.get(name) for name in LIMITS)
    parsed = parse_waves([{**shared, **wave} for wave in waves])
    for number, wave in enumerate(parsed, 1):  # what a channel has from before stays readable
        for name in wave.devices:
            if not name.startswith(DEVICE_PREFIXES):  # it would never ask
                raise ConfigError(f"wave {number}: '{name[:32]}' cannot be a device", NAMED)
        for name in wave.approval:
            if name.startswith("oidc:") and "#" not in name:  # another issuer may have the same subject
                raise ConfigError(f"wave {number}: '{name[:32]}' names no issuer", ISSUER)
    return PlanFile(
        parsed,
        None if max_failed is None else _number(max_failed, "max_failed", 0, 100),
        None if patience is None else _minutes(patience, "patience", MAX_PATIENCE),
    )


def parse_waves(value: object) -> tuple[Wave, ...]:
    """Return the waves that a list of objects describes, which make a plan; raises ConfigError."""
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= MAX_WAVES
        or not all(isinstance(one, dict) for one in value)
    ):
        many = f"{len(value)} waves" if isinstance(value, list) else f"'{str(value)[:32]}'"
        raise ConfigError(f"the plan has {many}", f"give it 1 to {MAX_WAVES}, each as an object")
    waves = tuple(_parse_wave(number, fields) for number, fields in enumerate(value, 1))
    return Plan(waves).waves


def ramp(text: str, soak: str = "0") -> tuple[Wave, ...]:
    """Return the waves of shares as in `1,10,50,100`, each as old as `soak` before the next one; raises ConfigError."""
    parts = text.split(",")
    if not all(re.fullmatch("[0-9]{1,3}", part) for part in parts):
        raise ConfigError(f"'{text[:32]}' is no ramp", "give percentages that rise, as in 1,10,50,100")
    minutes = _minutes(soak, "soak", MAX_SOAK)
    shares = [_number(int(part), "percent", 1, 100) for part in parts]
    return Plan(tuple(Wave(percent=share, soak=minutes) for share in shares)).waves


def wave_fields(wave: Wave) -> dict[str, Any]:
    """Return a wave's fields in JSON's own types, those that say something: equal waves give equal fields."""
    window = wave.window
    hours = {} if window is None else {"window": window.hours, "zone": window.zone, "days": list(window.day_names)}
    fields = {
        "percent": wave.percent,
        "tags": list(wave.tags),
        "devices": list(wave.devices),
        **hours,
        "soak": wave.soak,
        "answers": wave.answers,
        "max_failed": wave.max_failed,
        "approval": list(wave.approval),
    }
    unsaid = {"answers": MIN_OUTCOMES, "max_failed": None}
    return {name: value for name, value in fields.items() if (value != unsaid[name] if name in unsaid else value)}


def _parse_wave(number: int, fields: Mapping[str, Any]) -> Wave:
    try:
        _check_names(fields, WAVE_FIELDS, "a wave")
        hours = {name: fields[name] for name in ("window", "zone", "days") if name in fields}
        if hours.keys() - {"zone"} and "window" not in hours:
            raise ConfigError("days are given, and no window", 'give one, as in window = "02:00-04:00"')
        return Wave(
            percent=_number(fields.get("percent", 0), "percent", 0, 100),
            tags=_names(fields.get("tags", ()), TAG, "tag"),
            devices=tuple(map(device_name, _names(fields.get("devices", ()), _NAME, "device"))),
            window=parse_window(hours["window"], hours.get("zone"), hours.get("days", ()))
            if "window" in hours
            else None,
            soak=_minutes(fields.get("soak", 0), "soak", MAX_SOAK),
            answers=_number(fields.get("answers", MIN_OUTCOMES), "answers", 1, MAX_ANSWERS),
            max_failed=_number(fields["max_failed"], "max_failed", 0, 100) if "max_failed" in fields else None,
            approval=_names(fields.get("approval", ()), _OPERATOR, "approval"),
        )
    except ConfigError as error:
        raise ConfigError(f"wave {number}: {error.message}", error.hint) from error


def _check_names(fields: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for name in fields:
        if name not in known:
            raise ConfigError(f"'{str(name)[:32]}' is nothing that {what} has", f"there are: {', '.join(known)}")


def _number(value: object, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(f"{name} is '{str(value)[:32]}'", f"use a whole number from {least} to {most}")
    return value


def _minutes(value: object, name: str, most: int) -> int:
    """Return a time in minutes, given as such or as in `90m`, `2h` or `1d`."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    minutes = int(found[1]) * _UNITS[found[2]] if found is not None else value
    if type(minutes) is not int or not 0 <= minutes <= most:
        raise ConfigError(
            f"{name} is '{str(value)[:32]}'", f"use a time as in 90m, 2h or 1d, of {most // 1440} days at most"
        )
    return minutes


def _names(value: object, pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or len(names) > MAX_NAMES:
        raise ConfigError(
            f"'{str(value)[:32]}' is no list of {what}s", f"give a text, or a list of {MAX_NAMES} at most"
        )
    for name in names:
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise ConfigError(f"'{str(name)[:32]}' cannot be {_NAMES[what]}", _HINTS[what])
    return tuple(dict.fromkeys(names))


_NAMES = {"tag": "a tag", "device": "a device", "approval": "an operator"}
_HINTS = {
    "tag": "use 1 to 32 of a-z, 0-9, '.', '_' and '-', a letter or digit first",
    "device": NAMED,
    "approval": "name operators as their tokens and certificates are called, or give '*' for anybody",
}


def device_name(name: str) -> str:
    """Return the name of a device, which may be given by its MAC address alone."""
    return f"mac:{name.upper()}" if MAC_ADDRESS.fullmatch(name.upper()) else name
