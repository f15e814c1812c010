"""What an operator asks of a rollout, and the pointer that makes of it: for whom, and when it halts by itself."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from .. import rollout
from ..channels import MAX_PATIENCE, Channel, Pointer
from ..devices import Devices
from ..errors import ConfigError, ConflictError
from ..rollout import Counts

__all__ = ["NAMES", "Terms", "failing", "refusal"]

NAMES = ("percent", "max_failed", "patience")
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class Terms:
    """The share of the devices, the share of them that may fail (both per cent), and the minutes until silence is
    failure; None for what was not said.
    """

    percent: int | None = None
    max_failed: int | None = None
    patience: int | None = None

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> Terms:
        """Return what is said under NAMES; raises ConfigError."""
        return cls(
            _number(said, "percent", 0, 100, "is no percentage"),
            _number(said, "max_failed", 0, 100, "is no percentage of failures"),
            _number(said, "patience", 1, MAX_PATIENCE, "is no number of minutes"),
        )

    def pointer(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to `version` in a channel that was `before`.

        The same version again keeps its salt, so that those who were among the first ten per cent are among the first
        fifty, and all else that was not said.
        """
        same = before.pointer if before is not None and before.pointer.version == version else Pointer(version)
        return Pointer(
            version,
            100 if self.percent is None else self.percent,
            same.salt or secrets.token_hex(8),
            max_failed=same.max_failed if self.max_failed is None else self.max_failed,
            patience=same.patience if self.patience is None else self.patience,
        )

    def published(self, version: str, before: Channel | None) -> Pointer:
        """Return the pointer to what is published: a repeated upload must not let a halted rollout go on.

        Raises ConflictError.
        """
        if before is not None and before.pointer.halted and before.pointer.version == version:
            raise ConflictError(
                f"the rollout of '{version}' was halted: devices did not come back with it",
                "publish a release that works, or let it go on with otaseal promote --percent",
            )
        return self.pointer(version, before)


def _number(said: Mapping[str, object], name: str, least: int, most: int, what: str) -> int | None:
    value = said.get(name)
    if value is None and name not in said:
        return None
    text = str(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise ConfigError(f"'{text[:32]}' {what}", f"use a whole number from {least} to {most}")
    return int(text)


def failing(devices: Devices, product: str, channel: str, pointer: Pointer, now: float) -> Counts | None:
    """Return how the rollout of `pointer` goes if it goes so badly that it has to halt, else None."""
    counts = devices.counts(product, channel, pointer.version, now, 60.0 * pointer.patience)
    verdict = rollout.judge(counts, rollout.Limits(pointer.max_failed / 100))
    return counts if verdict == rollout.HALT else None


def refusal(pointer: Pointer, counts: Counts) -> ConflictError:
    """Return why a channel is not pointed at what would halt by itself as soon as it is looked at."""
    outcomes = counts.confirmed + counts.failed
    enough = -(-100 * counts.failed // outcomes)
    return ConflictError(
        f"the rollout of '{pointer.version}' would be halted at once: "
        f"{counts.failed} of the {outcomes} devices that took it did not come back with it",
        f"publish a release that works, or allow for as many failures: otaseal promote ... --max-failed {enough}",
    )
