"""What the server says about itself: events for a log, counters for Prometheus. Neither ever holds a secret.

An event is a flat mapping; who runs the server decides how it is written. A counter's labels come from tables of ours,
never from a request: what a client chooses must not grow the memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Event", "Telemetry", "as_line"]

Event = Mapping[str, object]

HELP = {
    "otaseal_device_requests_total": "Requests of devices by answer.",
    "otaseal_refused_connections_total": "Connections of devices beyond the most that are kept open.",
    "otaseal_sent_bytes_total": "Bytes of firmware handed to devices.",
    "otaseal_operator_requests_total": "Requests of operators by status.",
    "otaseal_authentication_failures_total": "Operators refused for their credentials.",
    "otaseal_alarms_total": "Events that call for a person.",
}


@dataclass
class Telemetry:
    """Counters since the start, and where events go."""

    write: Callable[[Event], None]
    _counters: Counter[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Counter, repr=False)

    def event(self, name: str, /, **values: object) -> None:
        """Write an event; values that are None are left out."""
        self.write({"event": name, **{key: value for key, value in values.items() if value is not None}})

    def alarm(self, name: str, /, **values: object) -> None:
        """Write an event that calls for a person, and count it."""
        self.count("otaseal_alarms_total", kind=name)
        self.event(name, alarm=True, **values)

    def count(self, name: str, by: int = 1, /, **labels: str) -> None:
        """Add to a counter."""
        self._counters[name, tuple(sorted(labels.items()))] += by

    def prometheus(self, gauges: Mapping[str, float]) -> str:
        """Return all counters, and the `gauges`, in Prometheus' text format 0.0.4."""
        lines = []
        for name, text in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            mine = sorted((labels, count) for (of, labels), count in self._counters.items() if of == name)
            lines += [f"{name}{_labels(labels)} {count}" for labels, count in mine]
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def as_line(event: Event) -> str:
    """Return an event as one line for people: its name, then `key=value`; what would break the line is escaped."""
    rest = (f"{key}={_shown(value)}" for key, value in event.items() if key != "event")
    return " ".join([str(event["event"]), *rest])


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and text and " " not in text else json.dumps(text)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in labels) + "}" if labels else ""
