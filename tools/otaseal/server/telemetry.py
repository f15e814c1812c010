"""Telemetry: events for a log, counters for Prometheus. Neither ever holds a secret.

A counter's labels come from our own tables, never from a request: what a client chooses must not grow the memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from .alarms import Alarms, Problem

Labelled = tuple[str, tuple[tuple[str, str], ...]]
Counters = Counter[Labelled]

MAX_REMEMBERED = 1024
"""Texts of which it is remembered how a line quotes them: most lines say what others said before."""
_PLAIN = re.compile(r"[!-~]+")
_TOKEN = re.compile(r"(otaseal_)[A-Za-z0-9_-]{24,}")
"""A token in a place where none belongs, a path or a version, or most of one: what is left of it cannot be found."""

HELP = {
    "otaseal_device_requests_total": "Requests of devices by answer.",
    "otaseal_proofs_total": "Requests with a proof that does not hold, or without where a key is known, by result.",
    "otaseal_refused_connections_total": "Connections of devices beyond the most, in all or of one address.",
    "otaseal_sent_bytes_total": "Bytes of firmware handed to devices.",
    "otaseal_deliveries_total": "Firmware that devices have received to its last byte, by form: raw, gzip or patch.",
    "otaseal_operator_requests_total": "Requests of operators by status.",
    "otaseal_authentication_failures_total": "Operators refused for their credentials.",
    "otaseal_alarms_total": "Events that call for a person.",
    "otaseal_mqtt_messages_total": "Messages that an MQTT broker has taken.",
    "otaseal_webhooks_total": "Messages to webhooks by result: delivered, given up, or dropped for want of room.",
    "otaseal_log_lines_lost_total": "Lines of the log for which there was no room.",
}


class Event(dict[str, object]):
    """What happened: its name under "event", and values. It is not changed once it is made."""

    __slots__ = ("_line",)
    _line: str

    def as_line(self) -> str:
        """Return one line for people: its name, then `key=value`; what would break the line is escaped."""
        try:
            return self._line
        except AttributeError:
            values = [f"{key}={_quoted(str(value))}" for key, value in self.items() if key != "event"]
            self._line = " ".join([str(self["event"]), *values])
            return self._line

    def as_fields(self) -> Mapping[str, object]:
        """Return its name and its values."""
        return self


class DeviceEvent(NamedTuple):
    """What happened to a device, None for who says no name: all but the name and the address is `shared` by a fleet."""

    shared: Event
    device: str | None
    address: str | None

    def as_line(self) -> str:
        """Return one line for people, as that of an Event."""
        own = [f" {key}={_quoted.__wrapped__(str(value))}" for key, value in self._own() if value is not None]
        return self.shared.as_line() + "".join(own)

    def as_fields(self) -> Mapping[str, object]:
        """Return its name and its values."""
        return {**self.shared, **{key: value for key, value in self._own() if value is not None}}

    def _own(self) -> tuple[tuple[str, object], ...]:
        return ("device", _without_token(self.device)), ("address", self.address)


def make_event(name: str, /, **values: object) -> Event:
    """Return an event to write, once or whenever it happens again; values that are None are left out."""
    fields = {key: _without_token(value) for key, value in values.items() if value is not None}
    return Event({"event": name, **fields})


@dataclass
class Telemetry:
    """Counters since the start, and where events go.

    `take` returns False for an event that is lost. `problems` are those that call for a person as long as they last, by
    kind.
    """

    take: Callable[[Event | DeviceEvent], object]
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alarms: Alarms = field(default_factory=Alarms, repr=False)
    _counters: Counters = field(default_factory=Counter, repr=False)

    def write(self, event: Event | DeviceEvent) -> None:
        """Write an event."""
        if self.take(event) is False:
            self.count("otaseal_log_lines_lost_total")

    def event(self, name: str, /, **values: object) -> None:
        """Write an event; values that are None are left out."""
        self.write(make_event(name, **values))

    def alarm(self, name: str, /, **values: object) -> None:
        """Write an event that calls for a person, and count it: an alarm of a moment."""
        self.call(name, **values)
        text = str(_without_token(values.get("message") or make_event(name, **values).as_line()))
        where = {field: str(values.get(field) or "") for field in Problem._fields[1:]}
        self.alarms.moment(name, Problem(text, **where))

    def call(self, name: str, /, **values: object) -> None:
        """Write and count an event that calls for a person, of which `alarms` is told beside that."""
        self.count("otaseal_alarms_total", kind=name)
        self.event(name, alarm=True, **values)

    def set_problems(self, kind: str, problems: Iterable[str | Problem]) -> None:
        """Note what is wrong now, in place of what was: an alarm for each that is new, a line when nothing is left."""
        whole = [one if isinstance(one, Problem) else Problem(one) for one in problems]
        before, now = self.problems.get(kind, ()), tuple(dict.fromkeys(problem.text for problem in whole))
        self.problems[kind] = now
        for message in now:
            if message not in before:
                self.call(kind, message=message)
        if before and not now:
            self.event(kind, message="all is well again")
        self.alarms.set(kind, (one._replace(text=str(_without_token(one.text))) for one in whole))

    def count(self, name: str, by: int = 1, /, **labels: str) -> None:
        """Add to a counter."""
        self.add(labelled(name, **labels), by)

    def add(self, counter: Labelled, by: int = 1) -> None:
        """Add to a counter, named by `labelled`."""
        self._counters[counter] += by

    def prometheus(self, gauges: Mapping[Labelled, float]) -> str:
        """Return all counters, and the `gauges`, those of one name together, in Prometheus' text format 0.0.4."""
        counters = self._counters.copy()  # other threads count, too
        lines = []
        for name, text in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            mine = sorted((labels, count) for (of, labels), count in counters.items() if of == name)
            lines += [f"{name}{_labels(labels)} {count}" for labels, count in mine]
        for (name, labels), value in gauges.items():
            kind = f"# TYPE {name} gauge"
            lines += [*([] if kind in lines else [kind]), f"{name}{_labels(labels)} {value:g}"]
        return "\n".join(lines) + "\n"


def _without_token(value: object) -> object:
    return _TOKEN.sub(r"\1...", value) if isinstance(value, str) and "otaseal_" in value else value


def labelled(name: str, /, **labels: str) -> Labelled:
    """Return the key of the counter `name` with these labels."""
    return name, tuple(sorted(labels.items()))


@lru_cache(MAX_REMEMBERED)
def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels) + "}" if labels else ""
