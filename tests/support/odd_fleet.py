"""Devices of every kind and what operators say of them, drawn at random, in a fleet as operators read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import strategies as st

from otaseal.protocol.answers import REASONS
from otaseal.server.catalog import Catalog
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.operator_api.fleet import Fleet
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.operator_api.room import Room
from otaseal.store.backend import open_new
from otaseal.store.device_rows import Device
from otaseal.store.enrolments import Enrolments
from otaseal.store.labels import NO_LABEL, Label
from otaseal.store.tag_rules import TagRule
from support.filled_store import BACKENDS, FIRST, SECOND, fill, new_location

NOW = 1_800_000_000.0
MACS = tuple(f"5C:CF:7F:00:00:{number:02X}" for number in range(6))
TAGS = ("indoor", "old")


@pytest.fixture(params=BACKENDS)
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with open_new(new_location(request.param, tmp_path)) as backend:
        fill(backend.store)
        catalog = Catalog(backend.store)
        keys = backend.start(print, lambda: None)
        backend.labels.facts = catalog.facts
        with Recorder(backend.notes, print) as recorder:
            yield Fleet(
                catalog, backend.devices, recorder, UptimeClock(lambda jump: None), keys, Enrolments(backend.secrets),
                backend.labels, Room(catalog),
            )  # fmt: skip


@pytest.fixture
def open_fleet(fleet: Fleet) -> Callable[[], Fleet]:
    """Return what returns the fleet: hypothesis would show all of it."""
    return lambda: fleet


MAYBE = st.one_of(st.none(), st.floats(1e9, 2e9))
ROWS = st.fixed_dictionaries(
    {
        "product": st.just("blink"),
        "device": st.sampled_from([f"{kind}:{mac}" for kind in ("mac", "cert", "unproven") for mac in MACS]),
        "channel": st.sampled_from(["stable", "beta"]),
        "md5": st.sampled_from([FIRST.sketch_md5[0], SECOND.sketch_md5[0], "f" * 32, ""]),
        "version": st.sampled_from(["", "1.1.0", "1.0.0", "0.9", "no version|"]),
        "mac": st.sampled_from(MACS),
        "first_seen": st.just(1e9),
        "last_seen": st.floats(NOW - 1e6, NOW),
        "offered": st.sampled_from([None, "1.1.0"]),
        "deliveries": st.integers(0, 4),
        "delivered_at": MAYBE,
        "confirmed_at": MAYBE,
        "failed_at": MAYBE,
        "counter": st.sampled_from([None, 0]),
        "board": st.sampled_from(["", FIRST.board_key or "", "ab" * 8]),
        "chip": st.sampled_from(["", "esp8266", "esp32"]),
        "free_space": st.sampled_from([None, 0, 4096, 1 << 20, 0xFFFFFFFF]),
        "sketch_size": st.sampled_from([None, 300_000]),
        "answered": st.sampled_from(["", *REASONS]),
        "pace": st.one_of(st.none(), st.floats(60, 1e6)),
    }
).map(lambda told: Device(**told))
LABELS = st.builds(
    Label,
    name=st.sampled_from(["", "Kitchen", "hall"]),
    note=st.sampled_from(["", "5C by the door"]),
    tags=st.frozensets(st.sampled_from(TAGS)),
    pinned=st.booleans(),
)
RULES = st.builds(
    TagRule, st.sampled_from([*TAGS, "by-rule"]), st.sampled_from(["", "nodemcu*"]), st.sampled_from(["", "esp*"]),
    st.sampled_from(["1.*", "*"]), st.sampled_from(["", "b*"]), st.sampled_from(["", "k*"]),
)  # fmt: skip


def put(fleet: Fleet, rows: Sequence[Device], labels: Mapping[str, Label], rules: Sequence[TagRule]) -> None:
    """Make these the devices, labels and rules of the fleet, in place of what there was."""
    with fleet.devices.transaction() as transaction:
        transaction.execute("DELETE FROM devices")
    fleet.devices.take(rows)
    edits = {**dict.fromkeys(fleet.labels.of("blink"), NO_LABEL), **labels}
    fleet.labels.change("blink", {device: lambda _, label=label: label for device, label in edits.items()})  # type: ignore[misc]
    for tag in list(fleet.labels.rules.of("blink")):
        fleet.labels.rules.drop("blink", tag)
    for rule in rules:
        fleet.labels.rules.set("blink", rule)
