"""Alarms: what calls for a person, from its beginning to its end. In memory: what lasts is found again after a start.

A standing alarm is a problem of a kind that is there until it is no longer reported; a moment begins and ends at once.
Both are told to `watchers` in whatever thread they are noticed. All of it is bounded, and none of it is ever a secret.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

MAX_STANDING = 256
"""Alarms of one kind that stand; the others of that kind are in the log."""
MAX_ENDED = 256
MAX_TEXT = 500
SHORTEST = 0.001
"""Seconds that what stood has lasted at least: only a moment ends when it begins."""


class Problem(NamedTuple):
    """What is wrong, in words, and where: "" for what is of no product, channel or device alone."""

    text: str
    product: str = ""
    channel: str = ""
    device: str = ""


class Alarm(NamedTuple):
    """A problem of a kind `since` then, in seconds since 1970, `until` its end; None while it lasts."""

    kind: str
    text: str
    product: str
    channel: str
    device: str
    since: float
    until: float | None


Watcher = Callable[[Alarm], None]


class Alarms:
    """The alarms of one server. Safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.watchers: list[Watcher] = []
        self._clock = clock
        self._standing: dict[str, dict[Problem, Alarm]] = {}
        self._ended: deque[Alarm] = deque(maxlen=MAX_ENDED)
        self._lock = threading.Lock()

    def set(self, kind: str, problems: Iterable[Problem]) -> None:
        """Note what is wrong now, in place of what was: the others of that kind have ended."""
        now = dict.fromkeys(map(_bounded, problems))
        with self._lock:
            before, at = self._standing.get(kind, {}), self._clock()
            ended = [
                alarm._replace(until=max(at, alarm.since + SHORTEST))
                for problem, alarm in before.items()
                if problem not in now
            ]
            standing = {problem: alarm for problem, alarm in before.items() if problem in now}
            begun = [Alarm(kind, *problem, since=at, until=None) for problem in now if problem not in before]
            begun = begun[: MAX_STANDING - len(standing)]
            self._standing[kind] = standing | {Problem(*alarm[1:5]): alarm for alarm in begun}
            self._ended.extend(ended)
        self._tell(*ended, *begun)

    def moment(self, kind: str, problem: Problem) -> None:
        """Note what happened, and is over."""
        at = self._clock()
        alarm = Alarm(kind, *_bounded(problem), since=at, until=at)
        with self._lock:
            self._ended.append(alarm)
        self._tell(alarm)

    def listed(self, product: str | None = None) -> list[Alarm]:
        """Return the alarms that stand, then those that have ended, each the latest first.

        Of a `product` alone, and those that are of none; None for all.
        """
        with self._lock:
            standing = [alarm for alarms in self._standing.values() for alarm in alarms.values()]
            ended = list(self._ended)
        standing.sort(key=lambda alarm: alarm.since, reverse=True)
        return [
            alarm for alarm in (*standing, *reversed(ended)) if product in (None, alarm.product) or not alarm.product
        ]

    def _tell(self, *alarms: Alarm) -> None:
        for alarm in alarms:
            for watcher in self.watchers:
                watcher(alarm)


def _bounded(problem: Problem) -> Problem:
    """Return a problem whose text is one line: of a traceback the last, which says what went wrong."""
    lines = problem.text.strip().splitlines()
    return problem._replace(text=lines[-1][:MAX_TEXT] if lines else "")
