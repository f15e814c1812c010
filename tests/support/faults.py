"""Random faults of five machines: each begins, lasts a moment, and is healed."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from support.cluster import DATABASES, SERVERS, Five


@dataclass(frozen=True)
class Fault:
    """A fault by its name; within `run` it is there."""

    name: str
    run: Callable[[Five], AbstractContextManager[object]]
    hides_database: bool = False
    """Whether a server goes on without it, or with what it knew before."""
    hits_database: bool = False
    """Whether devices notice nothing."""


@contextlib.contextmanager
def _killed_server(name: str, five: Five) -> Iterator[None]:
    five.servers[name].kill()
    yield
    five.servers[name].start()


@contextlib.contextmanager
def _killed_front(five: Five) -> Iterator[None]:
    five.front.kill()
    yield
    five.front.start()


@contextlib.contextmanager
def _failover(five: Five) -> Iterator[None]:
    five.kill_primary()
    yield
    five.promote()
    five.rejoin()


@contextlib.contextmanager
def _stopped(machine: str, five: Five) -> Iterator[None]:
    machine = {"primary": five.primary, "standby": five.standby}.get(machine, machine)
    process = five.front if machine == "front" else five.servers.get(machine) or five.databases[machine]
    process.signal(signal.SIGSTOP)
    yield
    process.signal(signal.SIGCONT)


@contextlib.contextmanager
def _split(one: str, other: str, five: Five) -> Iterator[None]:
    five.network.cut(one, other)
    yield
    five.network.heal(one, other)


@contextlib.contextmanager
def _full_disk(five: Five) -> Iterator[None]:
    filler = five.fill_disk()
    yield
    filler.unlink()


def faults() -> list[Fault]:
    """Return every fault there is."""
    found = [
        Fault("kill front", _killed_front),
        Fault("kill primary", _failover, hides_database=True, hits_database=True),
        Fault("full disk", _full_disk, hides_database=True, hits_database=True),
        Fault("no connections", Five.no_connections, hides_database=True, hits_database=True),
        Fault("writers wait", Five.blocked_writers, hides_database=True, hits_database=True),
        Fault("stop front", partial(_stopped, "front")),
    ]
    for name in SERVERS:
        found.append(Fault(f"kill {name}", partial(_killed_server, name)))
        found.append(Fault(f"stop {name}", partial(_stopped, name), hides_database=True))
    for name in ("primary", "standby"):
        found.append(Fault(f"stop {name}", partial(_stopped, name), hides_database=True, hits_database=True))
    for one, other in itertools.combinations(("front", *SERVERS, *DATABASES), 2):
        only = "front" not in (one, other)
        hides = other in DATABASES and one in SERVERS
        fault = Fault(f"split {one} {other}", partial(_split, one, other), hides_database=hides, hits_database=only)
        found.append(fault)
    return found


def drawn(seed: int, count: int) -> Iterator[tuple[Fault, float]]:
    """Yield so many faults, each with the part of the longest time that it lasts; the same ones for the same seed."""
    generator, known = random.Random(seed), faults()
    order: list[Fault] = []
    for _ in range(count):
        order = order or generator.sample(known, len(known))  # each once before one comes again
        yield order.pop(), generator.uniform(0.1, 1.0)
