"""A window: the hours in which devices may get a release, in the local time of a named zone, on some days of the week.

Pure, but for the zones, which the standard library reads from the system or from the package tzdata. An hour that
daylight saving takes away opens no window in it, and one that comes twice opens it twice: the clock on the wall counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..errors import ConfigError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = tuple(range(len(DAYS)))
DAY_MINUTES = 24 * 60
_HOURS = re.compile("([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_ZONE = re.compile("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_DAYS_HINT = f"give days as {', '.join(DAYS)}, or as mon-fri"


class Opening(NamedTuple):
    """When a window opens and closes next, in seconds since 1970."""

    opens: float
    closes: float


@dataclass(frozen=True)
class Window:
    """From `begins` to `ends`, in minutes of a day in `zone`; one that ends before it begins ends on the next day.

    `days` (0 is Monday) are those on which it begins. Raises ConfigError for what is no window.
    """

    begins: int
    ends: int
    zone: str
    days: tuple[int, ...] = EVERY_DAY

    def __post_init__(self) -> None:
        if not (0 <= self.begins < DAY_MINUTES and 0 <= self.ends < DAY_MINUTES) or self.begins == self.ends:
            raise ConfigError(f"'{self.hours}' is no window of a day", "give two different times, as in 02:00-04:00")
        if not self.days or list(self.days) != sorted(set(self.days)) or not set(self.days) <= set(EVERY_DAY):
            raise ConfigError(f"'{self.days}' are no days of the week", _DAYS_HINT)
        _ = self.local

    @cached_property
    def local(self) -> ZoneInfo:
        """The zone."""
        try:
            if _ZONE.fullmatch(self.zone) is None:
                raise ValueError(self.zone)
            return ZoneInfo(self.zone)
        except (ValueError, OSError, KeyError) as error:  # a zone that is missing is a KeyError
            raise ConfigError(
                f"there is no time zone '{self.zone[:64]}' here",
                "name one as Europe/Berlin or UTC; a system without zones needs the package tzdata",
            ) from error

    @property
    def hours(self) -> str:
        """The hours, as `parse` reads them."""
        return f"{self.begins // 60:02}:{self.begins % 60:02}-{self.ends // 60:02}:{self.ends % 60:02}"

    @property
    def day_names(self) -> tuple[str, ...]:
        """The days by their names, none where they are all."""
        return () if self.days == EVERY_DAY else tuple(DAYS[day] for day in self.days)

    def is_open(self, now: float) -> bool:
        """Return whether it is open, at a time in seconds since 1970."""
        here = datetime.fromtimestamp(now, self.local)
        minute, today = here.hour * 60 + here.minute, here.weekday()
        if self.begins < self.ends:
            return self.begins <= minute < self.ends and today in self.days
        return (minute >= self.begins and today in self.days) or (minute < self.ends and (today - 1) % 7 in self.days)

    def next_change(self, now: float) -> float:
        """Return when it opens or closes next: the first time after `now` at which `is_open` is another."""
        state, first = self.is_open(now), datetime.fromtimestamp(now, self.local).date()
        for days in range(-1, 16):  # a week, and another one where daylight saving takes away the only hours
            day = datetime.combine(first + timedelta(days=days), datetime.min.time())
            at = [time for minute in sorted((self.begins, self.ends)) for time in self._times(day, minute)]
            for time in sorted(at):
                if time > now and self.is_open(time) is not state:
                    return time
        raise AssertionError(f"{self} never changes")

    def next_opening(self, now: float) -> Opening:
        """Return when it is open next, which may have been for a while."""
        opens = now if self.is_open(now) else self.next_change(now)
        return Opening(opens, self.next_change(opens))

    def _times(self, day: datetime, minute: int) -> list[float]:
        """Return when the clock on the wall shows a minute of a day: once, twice, or as soon as it has jumped over."""
        wall = day + timedelta(minutes=minute)
        low, high = sorted(wall.replace(tzinfo=self.local, fold=fold).timestamp() for fold in (0, 1))
        if low == high or self._wall(low) == wall:
            # Where the clock is set back from within the window, it is another time at that very moment, too.
            return [low] if low == high else [low, self._jump(low, high), high]
        return [self._jump(low, high)]

    def _wall(self, time: float) -> datetime:
        return datetime.fromtimestamp(time, self.local).replace(tzinfo=None)

    def _jump(self, low: float, high: float) -> float:
        """Return the first minute from `low` to `high` that has the time of `high`, daylight saving or not."""
        first, last = int(low) // 60, int(high) // 60
        while last - first > 1:
            middle = (first + last) // 2
            same = self._offset(60.0 * middle) == self._offset(high)
            first, last = (first, middle) if same else (middle, last)
        return 60.0 * last

    def _offset(self, time: float) -> timedelta | None:
        return datetime.fromtimestamp(time, self.local).utcoffset()


def parse_window(hours: object, zone: object, days: object = ()) -> Window:
    """Return the window of texts as in `02:00-04:00`, `Europe/Berlin` and `mon-fri` or a list; raises ConfigError."""
    found = _HOURS.fullmatch(hours) if isinstance(hours, str) else None
    if found is None or int(found[2]) > 59 or int(found[4]) > 59:
        raise ConfigError(f"'{str(hours)[:32]}' is no window of a day", "give two times, as in 02:00-04:00")
    if not isinstance(zone, str):
        raise ConfigError(f"the window '{hours}' has no time zone", 'name one, as in zone = "Europe/Berlin"')
    numbers = [int(part) for part in found.groups()]
    return Window(numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3], zone, _days(days))


def _days(value: object) -> tuple[int, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"'{str(value)[:32]}' are no days of the week", _DAYS_HINT)
    days = {day for name in names for day in _range(name)}
    return tuple(sorted(days)) or EVERY_DAY


def _range(name: str) -> list[int]:
    first, dash, last = name.partition("-")
    last = last if dash else first
    if first not in DAYS or last not in DAYS:
        raise ConfigError(f"'{name[:32]}' is no day of the week", _DAYS_HINT)
    begin, end = DAYS.index(first), DAYS.index(last)
    return [(begin + number) % 7 for number in range((end - begin) % 7 + 1)]


def local_time(time: float, zone: str = "UTC") -> str:
    """Return a time for people, with its zone."""
    return datetime.fromtimestamp(time, timezone.utc if zone == "UTC" else ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
