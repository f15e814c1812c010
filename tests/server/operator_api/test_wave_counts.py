"""Waves as the database counts them: each device is where the server has it when it asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.release.channels import Pointer
from otaseal.release.evidence import WEIGHTS, evidence_of
from otaseal.release.waves import Plan, Wave, wave_of
from otaseal.server.operator_api.fleet import Fleet
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.operator_api.wave_counts import Funnel, Standings, WaveCounter
from otaseal.store.device_rows import Device
from otaseal.store.labels import Label
from otaseal.store.row_changes import CLOCK_SECONDS
from otaseal.store.tag_rules import TagRule
from support.filled_store import SECOND
from support.odd_fleet import LABELS, MACS, NOW, ROWS, RULES, TAGS, fleet, open_fleet, put

__all__ = ["fleet", "open_fleet"]
PATIENCE = 60
WAVES = st.builds(
    Wave,
    percent=st.sampled_from([0, 1, 37, 50, 99, 100]),
    tags=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
    devices=st.lists(st.sampled_from([f"{kind}:{mac}" for kind in ("mac", "cert") for mac in MACS]), max_size=2).map(
        lambda names: tuple(dict.fromkeys(names))
    ),
).filter(lambda wave: wave.percent or wave.tags or wave.devices)


def growing(waves: list[Wave]) -> tuple[Wave, ...]:
    """Return waves of which each has a larger share than those before, or none, as in a plan."""
    found: list[Wave] = []
    for wave in waves:
        grows = wave.percent > max((before.percent for before in found), default=0)
        if grows or wave.tags or wave.devices:
            found.append(wave if grows else replace(wave, percent=0))
        if wave.percent == 100:  # nobody is left for later ones
            break
    return tuple(found)


def told(fleet: Fleet, pointer: Pointer, began: float, set_aside: float | None) -> Standings:
    """Return where a rollout stands, device by device, as the server decides whom to give it."""
    size = len(pointer.waves)
    found = Standings([Funnel() for _ in range(size)], [Funnel() for _ in range(size)])
    found.unmet = {number for number, wave in enumerate(pointer.waves) if wave.tags or wave.devices}
    for row in fleet.devices.list("blink"):
        if row.channel != "stable":
            continue
        if fleet.labels.is_pinned("blink", row.device):
            found.pinned += 1
            continue
        tags = fleet.labels.tags_of("blink", row.device, row)
        found.unmet -= {number for number in found.unmet if pointer.waves[number].names(row.device, tags)}
        one, failed = fate(row, pointer.version)
        if failed is not None and set_aside is not None and failed <= set_aside:
            continue
        wave = wave_of(pointer.waves, row.device, tags, pointer.salt)
        counts = WEIGHTS[evidence_of(row.device, row.first_seen, began, row.enrolled)].votes != 0
        for funnel in (
            found.rest if wave is None else found.waves[wave],
            *([found.heard[wave]] if wave is not None and counts else []),
        ):
            for name, value in asdict(one).items():
                setattr(funnel, name, getattr(funnel, name) + value)
    return found


def missing_in(fleet: Fleet, wave: Wave) -> list[str]:
    """Return which tags and names of a wave no device has that may be updated, device by device."""
    parts = [replace(wave, tags=(tag,), devices=()) for tag in wave.tags]
    parts += [replace(wave, tags=(), devices=(device,)) for device in wave.devices]
    rows = [row for row in fleet.devices.list("blink") if row.channel == "stable"]
    rows = [row for row in rows if not fleet.labels.is_pinned("blink", row.device)]
    tagged = [(row.device, fleet.labels.tags_of("blink", row.device, row)) for row in rows]
    return [replace(part, percent=0).who for part in parts if not any(part.names(*one) for one in tagged)]


def fate(row: Device, version: str) -> tuple[Funnel, float | None]:
    """Return what became of a device, and since when it has failed."""
    if row.md5 in SECOND.runs:
        return Funnel(1, 1, 1, 1), None
    if row.offered != version:
        return Funnel(1), None
    if row.confirmed_at is not None:
        return Funnel(1, 1, row.delivered_at is not None, 1), None
    if row.failed_at is not None:
        return Funnel(1, 1, row.delivered_at is not None, 0, 1), row.failed_at
    since = row.delivered_at
    silent = since is not None and not NOW - 60 * PATIENCE < since <= NOW + CLOCK_SECONDS
    return Funnel(1, 1, since is not None, 0, 0, silent), (since or 0) + 60 * PATIENCE if silent else None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROWS, max_size=12, unique_by=lambda row: row.device),
    labels=st.dictionaries(st.sampled_from([f"mac:{mac}" for mac in MACS]), LABELS, max_size=4),
    rules=st.lists(RULES, max_size=2),
    waves=st.lists(WAVES, min_size=1, max_size=4).map(growing),
    salt=st.text("abc123", min_size=1, max_size=4),
    set_aside=st.sampled_from([None, 1.5e9]),
)
def test_each_device_counts_where_the_server_has_it(
    open_fleet: Callable[[], Fleet],
    rows: list[Device],
    labels: dict[str, Label],
    rules: list[TagRule],
    waves: tuple[Wave, ...],
    salt: str,
    set_aside: float | None,
) -> None:
    fleet = open_fleet()
    put(fleet, rows, labels, rules)
    fleet.devices.begin("blink", "stable", "1.1.0", 1.5e9)
    fleet.devices.set_aside("blink", "stable", "1.1.0", set_aside)  # type: ignore[arg-type]
    clock = UptimeClock(lambda jump: None, lambda: NOW, lambda: NOW)
    clock._started -= 1e9
    pointer = Pointer("1.1.0", salt=salt, patience=PATIENCE).with_plan(Plan(waves))
    counter = WaveCounter(fleet.devices, fleet.labels, clock)
    counted = counter.count("blink", "stable", pointer, SECOND)
    for number, meant in enumerate(waves):
        missing, aimed = counter.missing("blink", "stable", meant), len(meant.tags) + len(meant.devices)
        assert missing == missing_in(fleet, meant)
        assert (number in counted.unmet) is (len(missing) == aimed > 0)
    failed, counted.failed = counted.failed, []
    assert counted == told(fleet, pointer, 1.5e9, set_aside)
    funnels = (*counted.waves, counted.rest)
    assert len(failed) == sum(funnel.failed + funnel.silent for funnel in funnels)
    for one in failed:
        row = fleet.devices.get("blink", one.device)
        assert row is not None
        tags = fleet.labels.tags_of("blink", row.device, row)
        wave = wave_of(waves, row.device, tags, salt)
        assert one.wave == (0 if wave is None else wave + 1)
        assert (one.silent, one.since) == (bool(fate(row, "1.1.0")[0].silent), fate(row, "1.1.0")[1])
        assert (one.error, one.name) == (row.error, fleet.labels.get("blink", row.device).name)
