"""What a broker still retains of devices that were forgotten while it, or every server, was away.

After a connection, when all that are there have been told, the states that it retains are asked for until no more come.
Whatever a broker says there, only what lies below our own topics is taken away. Safe in threads.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...names import NAME
from . import home_assistant
from .broker import Broker

if TYPE_CHECKING:
    from paho.mqtt.client import Client

MAX_FOUND = 10_000
"""Devices that are remembered at once; for the others the broker is asked again."""
QUIET_SECONDS = 5.0
"""When nothing more has come for so long, all has."""
_IDENTIFIER = re.compile("[0-9A-Za-z_-]{1,64}")

Name = tuple[str, str]
"""A product, and the identifier of one of its devices."""


class Leftovers:
    """Asks a broker what it retains, once for each connection; `is_known` says whether a device is there."""

    def __init__(self, broker: Broker, is_known: Callable[[Name], bool]) -> None:
        self._topics = home_assistant.state_topics(broker)
        self._is_known = is_known
        self._found: dict[Name, None] = {}
        self._is_full = False
        self._heard: float | None = None
        """When something came last; None before it is asked."""
        self.is_over = False

    def begin(self) -> None:
        """Begin anew: there is another connection."""
        self._found.clear()
        self._heard, self.is_over = None, False

    @property
    def is_asked(self) -> bool:
        """Whether the broker was asked on this connection."""
        return self._heard is not None

    def ask(self, client: Client) -> None:
        """Let the broker send all that it retains."""
        self._heard, self._is_full = time.monotonic(), False
        client.subscribe(self._topics, qos=1)

    def hear(self, topic: str) -> None:
        """Take the topic of a retained state."""
        self._heard = time.monotonic()
        name = home_assistant.device_of(topic)
        if not NAME.fullmatch(name[0]) or not _IDENTIFIER.fullmatch(name[1]) or self._is_known(name):
            return
        if len(self._found) < MAX_FOUND:
            self._found[name] = None
        else:
            self._is_full = True

    def take(self, client: Client) -> list[Name]:
        """Return what was found, and forget it; and end when all has come."""
        is_quiet = self._heard is not None and time.monotonic() - self._heard >= QUIET_SECONDS
        found = []
        while self._found:
            name, _ = self._found.popitem()
            if not self._is_known(name):  # by now
                found.append(name)
        if is_quiet and self._is_full:
            self.ask(client)
        elif is_quiet:
            self.is_over = True
            client.unsubscribe(self._topics)
        return found
