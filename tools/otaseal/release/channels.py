"""A channel: which release it gives out and to whom, which version it goes back to; as values and as JSON.

Pure: where pointer files lie, and how they are replaced whole, is `store`'s. Parsing returns a whole channel or raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, InputError, LaterFormatError
from . import checksummed
from .plan_fields import WAVE_FIELDS, parse_waves, wave_fields
from .records import check_version
from .waves import MAX_NAME, MAX_PATIENCE, Plan, Wave

MAX_CHANNEL_BYTES = 8 * 1024
"""Bytes of one pointer file: more than the longest allowed values make."""
MAX_HISTORY = 32
"""Earlier versions of a channel that rollbacks can go back to, step by step."""
MAX_FAILED, PATIENCE = 5, 60
"""Per cent of the devices that may fail, and minutes until silence is failure, where an operator says nothing."""
MAX_GRANTS = 64
"""Devices of a rollout that were given it out of turn."""
_SALT = re.compile(r"[0-9A-Za-z._+~-]{0,64}")
_FIELDS = {"generation", "version", "percent", "salt", "halted", "history"}
_LIMITS = {"max_failed": MAX_FAILED, "patience": PATIENCE, "paused": False}
_PLAN, _GRANTED = "plan", "granted"
_PLAN_FIELDS = {"waves", "current", "began", "approved"}
"""All of these are written only where they say something: the pointers of earlier versions are pointers still."""


@dataclass(frozen=True)
class Pointer:
    """Which release a channel gives out, and to whom: `percent` of the devices, chosen by `salt`, until `halted`.

    That is when more than `max_failed` per cent of those that took it do not come back with it within `patience`
    minutes: longer than the longest pause between two polls. With a `plan` its waves say to whom, and `percent` how far
    they have come. While it is `paused` nobody is given it; those that are `granted` get it out of turn, until then.
    """

    version: str
    percent: int = 100
    salt: str = ""
    halted: bool = False
    max_failed: int = MAX_FAILED
    patience: int = PATIENCE
    paused: bool = False
    plan: Plan | None = None
    granted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_version(self.version)
        if type(self.halted) is not bool:
            raise InputError(f"'{self.halted}' is neither halted nor not", "use true or false")
        if type(self.paused) is not bool:
            raise InputError(f"'{self.paused}' is neither paused nor not", "use true or false")
        if type(self.percent) is not int or not 0 <= self.percent <= 100:
            raise InputError(f"'{self.percent}' is not a percentage", "use a whole number from 0 to 100")
        if type(self.max_failed) is not int or not 0 <= self.max_failed <= 100:
            raise InputError(f"'{self.max_failed}' is not a percentage of failures", "use a whole number from 0 to 100")
        if type(self.patience) is not int or not 1 <= self.patience <= MAX_PATIENCE:
            raise InputError(f"'{self.patience}' is not a valid number of minutes", f"use one from 1 to {MAX_PATIENCE}")
        if not _SALT.fullmatch(self.salt):
            raise InputError(f"'{self.salt}' cannot be a salt", "use at most 64 letters and digits")
        if self.plan is not None and self.plan.reach != self.percent:
            raise InputError(f"{self.percent} % is not what the plan has reached", f"it is {self.plan.reach} %")
        if len(self.granted) > MAX_GRANTS or not all(0 < len(name) <= MAX_NAME for name in self.granted):
            raise InputError(
                f"{len(self.granted)} devices are given the release out of turn", f"name {MAX_GRANTS} at most"
            )

    @property
    def complete(self) -> bool:
        """Tell whether every device of the channel is meant, each in its window."""
        return self.percent == 100 and not self.halted and not self.paused

    @property
    def unconditional(self) -> bool:
        """Tell whether every device may have the release at any time."""
        return self.complete and (self.plan is None or all(wave.window is None for wave in self.plan.waves))

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves: without a plan it is one of all whom the release goes to."""
        return (Wave(percent=self.percent),) if self.plan is None else self.plan.waves

    @property
    def current_wave(self) -> int:
        """Which of the waves is the last that began, from 0."""
        return 0 if self.plan is None else self.plan.current

    def with_plan(self, plan: Plan) -> Pointer:
        """Return the pointer with a plan in a state, and what that reaches."""
        return replace(self, plan=plan, percent=plan.reach)


@dataclass(frozen=True)
class Channel:
    """A channel's pointer, its generation (1 for the first pointer), and the versions that all its devices had before.

    `history` is oldest first. A version enters it when it is replaced and every device was to have it: a rollout that
    was halted, or overtaken, is nothing to go back to.
    """

    pointer: Pointer
    generation: int = 1
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if type(self.generation) is not int or self.generation < 1:
            raise InputError(f"'{self.generation}' is not a generation", "generations count from 1")
        if len(self.history) > MAX_HISTORY:
            raise InputError(f"{len(self.history)} versions are no history", f"keep at most {MAX_HISTORY}")
        for version in self.history:
            check_version(version)

    @property
    def previous(self) -> str | None:
        """The version for devices that the pointer does not mean, and for a rollback; None if there is none."""
        return self.history[-1] if self.history else None

    @property
    def given_out(self) -> tuple[str, ...]:
        """The releases that devices are given now."""
        before = () if self.pointer.unconditional else self.history[-1:]
        return (*before, self.pointer.version)

    @property
    def versions(self) -> frozenset[str]:
        """Every release that this channel still needs."""
        return frozenset((self.pointer.version, *self.history))

    def advanced(self, pointer: Pointer) -> Channel:
        """Return the channel after it was pointed at `pointer`: of the same version, or of another one."""
        history = self.history
        if pointer.version != self.pointer.version and self.pointer.complete:
            history = (*history, self.pointer.version)[-MAX_HISTORY:]
        return Channel(pointer, self.generation + 1, history)

    def rolled_back(self) -> Channel:
        """Return the channel with every device back on `previous`; raises InputError when there is none."""
        if self.previous is None:
            raise InputError(
                f"there is no version before '{self.pointer.version}' to go back to",
                "deploy or promote a release that works",
            )
        return Channel(Pointer(self.previous), self.generation + 1, self.history[:-1])

    def to_json(self) -> bytes:
        """Return the pointer file's content: equal channels give equal bytes; raises InputError for too many."""
        data = checksummed.dump(self._fields())
        if len(data) > MAX_CHANNEL_BYTES:
            raise InputError(
                f"the plan makes a pointer file of {len(data)} bytes, and {MAX_CHANNEL_BYTES} are the most",
                "give devices a tag in place of naming each",
            )
        return data

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "generation": self.generation,
            "version": self.pointer.version,
            "percent": self.pointer.percent,
            "salt": self.pointer.salt,
            "halted": self.pointer.halted,
            "history": list(self.history),
        }
        limits = {name: getattr(self.pointer, name) for name in _LIMITS}
        fields |= {name: value for name, value in limits.items() if value != _LIMITS[name]}
        if self.pointer.granted:
            fields[_GRANTED] = list(self.pointer.granted)
        if (plan := self.pointer.plan) is not None:
            state = {"current": plan.current, "began": plan.began, "approved": plan.approved}
            fields[_PLAN] = {"waves": [wave_fields(wave) for wave in plan.waves], **state}
        return fields

    @classmethod
    def from_json(cls, data: bytes) -> Channel:
        """Return the channel in `data`; raises LaterFormatError, and InputError for what no otaseal has written."""
        optional = {*_LIMITS, _PLAN, _GRANTED}
        fields = checksummed.load(data, MAX_CHANNEL_BYTES, "the pointer file", _FIELDS | optional)
        if set(fields) - optional != _FIELDS:
            raise _damaged("its fields are not those of a channel")
        try:
            pointed = {name: fields[name] for name in ("version", "percent", "salt", "halted")}
            pointed |= {name: fields.get(name, value) for name, value in _LIMITS.items()}
            plan = _plan(fields[_PLAN]) if _PLAN in fields else None
            pointer = Pointer(**pointed, plan=plan, granted=tuple(fields.get(_GRANTED, ())))
            channel = cls(pointer, fields["generation"], tuple(fields["history"]))
        except ConfigError as error:
            raise InputError(f"the pointer file cannot be used: {error.message}", error.hint) from error
        except (KeyError, TypeError) as error:
            raise _damaged("a value is of the wrong type") from error
        if channel._fields() != fields:
            raise _damaged("it is not as otaseal writes it")
        return channel


def _plan(fields: dict[str, Any]) -> Plan:
    """Return the plan in a pointer file, whose checksum holds; raises LaterFormatError for what is not known of one."""
    waves, state = fields["waves"], (fields["current"], fields["began"], fields["approved"])
    if set(fields) - _PLAN_FIELDS or any(set(wave) - set(WAVE_FIELDS) for wave in waves):
        raise LaterFormatError("the pointer file")
    if tuple(map(type, state)) != (int, int, str):
        raise _damaged("the state of its plan is of the wrong type")
    return Plan(parse_waves(waves), *state)


def _damaged(why: str) -> InputError:
    return InputError(f"the pointer file is damaged: {why}", "restore it from a backup")
