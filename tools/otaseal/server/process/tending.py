"""The devices' place, tended by the first worker: told when they are in memory, and brought home when that works."""

from __future__ import annotations

import asyncio

from ...errors import OtasealError
from ...store.device_file import Place
from ..telemetry import Telemetry

__all__ = ["tend"]

LOOK_SECONDS = 1.0
ROUNDS = 10
"""Of LOOK_SECONDS, after which the store's own file is tried again."""


async def tend(place: Place, telemetry: Telemetry) -> None:
    """Do it for ever."""
    rounds = 0
    while True:
        why = place.why()
        telemetry.stand("devices", [f"{why}; until that works again, they are kept in memory"] if why else [])
        rounds = rounds + 1 if why else 0
        if rounds >= ROUNDS:
            rounds = 0
            await asyncio.to_thread(_settle, place, telemetry)
        await asyncio.sleep(LOOK_SECONDS)


def _settle(place: Place, telemetry: Telemetry) -> None:
    try:
        place.settle(lambda message: telemetry.alarm("devices", message=message))
    except OtasealError as error:
        telemetry.alarm("devices", message=error.message)
