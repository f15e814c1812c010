"""A fleet of 2,000 with sleepers goes through a plan over a change of the clock, while servers come and go."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.errors import ConflictError
from otaseal.release.channels import Channel, Pointer
from otaseal.release.plan_fields import parse_window
from otaseal.release.rollout import Counts
from otaseal.release.waves import Plan, Turn, Wave, turn, wait, wave_of
from otaseal.server.catalog import Catalog
from otaseal.server.choices import Choice
from otaseal.server.operator_api.channel_changes import Target
from otaseal.server.operator_api.rollout_options import RolloutOptions, UptimeClock
from otaseal.server.operator_api.rollouts import begin_next
from otaseal.server.operator_api.wave_counts import WaveCounter
from otaseal.server.process.advancing import Advancer
from otaseal.server.process.maintenance import halt_failing
from otaseal.server.telemetry import Telemetry
from otaseal.store import audit_log
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.labels import Label, Labels
from otaseal.store.rollout_rows import Rollout
from otaseal.store.secrets import Secrets
from otaseal.store.store import Store
from support.devices import Devices
from support.releases import make_release

BEGAN = datetime(2026, 10, 23, 9, tzinfo=timezone.utc).timestamp()  # two days before summer time ends
TICK, DAY = 1200.0, 86400.0
OLD, NEW = "0" * 32, "1" * 32
NIGHT = parse_window("02:00-05:00", "Europe/Berlin")
NAMED = Wave(devices=("mac:first",))
OURS, TAGGED = Wave(tags=("ours",)), Label(tags=frozenset({"ours"}))
WAVES = (
    Wave(tags=("ours",), soak=60, answers=3),
    Wave(percent=10, window=NIGHT, soak=24 * 60),
    Wave(percent=50, window=NIGHT, soak=60, max_failed=4),
    Wave(percent=100, window=NIGHT),
)


@dataclass
class World:
    """A store, its devices and clocks that only a test moves: what survives a server."""

    folder: Path
    now: float = BEGAN
    took: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store.create(self.folder / "store")
        for version, data in (("1.0", b"old"), ("2.0", b"new")):
            release = make_release(version, data)
            runs = (OLD if version == "1.0" else NEW,) * 4
            self.store.publish(replace(release, sketch_md5=runs), [data])
        self.store.point("blink", "stable", Pointer("1.0"), expected=0)
        self.devices = Devices(self.folder / "devices")
        self.secrets = Secrets(self.folder / "secrets.sqlite")

    def begin(self, plan: tuple[Wave, ...], **fields: object) -> None:
        pointer = Pointer("2.0", salt="salt", patience=2 * 24 * 60).with_plan(Plan(plan, began=int(self.now)))
        self.store.point("blink", "stable", replace(pointer, **fields), expected=1)  # type: ignore[arg-type]
        self.devices.begin("blink", "stable", "2.0", self.now)

    @property
    def state(self) -> Channel:
        state = self.store.current("blink", "stable")
        assert state is not None
        return state

    @property
    def plan(self) -> Plan:
        assert self.state.pointer.plan is not None
        return self.state.pointer.plan

    def known(self, names: list[str]) -> None:
        with self.devices.batch() as rows:
            for name in names:
                rows.see(Sighting("blink", "stable", name, OLD), self.now - 30 * DAY)

    def close(self) -> None:
        self.devices.close()
        self.secrets.close()


class Server:
    """One run of a server: what it has in memory, made anew from what the world keeps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[str] = []
        self.telemetry = Telemetry(lambda event: self.events.append(str(event["event"])))
        self.catalog = Catalog(Store.open(world.store.directory), wall=lambda: world.now)
        self.labels = Labels(world.secrets)
        self.clock = UptimeClock(lambda jump: None, lambda: world.now, lambda: world.now)
        self.clock._started -= 1e9
        counter = WaveCounter(world.devices, self.labels, self.clock)
        self.advancer = Advancer(self.catalog, counter, self.telemetry, lambda: world.now)

    def problems(self) -> list[str]:
        """Judge the gates alone, and return in words what is wrong."""
        return [problem.text for problem in self.advancer.judge()]

    def judge(self) -> None:
        halt_failing(self.catalog, self.world.devices, self.telemetry, self.clock)
        assert self.advancer.judge() == []

    def choose(self, device: str, runs: str) -> Choice:
        return self.catalog.choose("blink", "stable", device, runs, self.tags)

    def tags(self, product: str, device: str) -> frozenset[str]:
        return self.labels.tags_of(product, device, None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@dataclass
class Chip:
    """A device that asks every so often, and at once after it has taken a release."""

    name: str
    pace: float
    due: float
    runs: str = OLD
    fails: bool = False
    asked: float = BEGAN - 3600.0


def poll(server: Server, chips: list[Chip]) -> None:
    """Let devices ask, and check of each that takes the release that it may."""
    world, plan = server.world, server.world.plan
    with world.devices.batch() as rows:
        for chip in chips:
            asking = Asking("blink", chip.name)
            rows.see(Sighting("blink", "stable", chip.name, chip.runs), world.now)
            choice = server.choose(chip.name, chip.runs)
            told = (
                None if choice.opening is None else wait(choice.opening, world.now, chip.name, world.now - chip.asked)
            )
            chip.due, chip.asked = world.now + (told or chip.pace), world.now
            if chip.runs == NEW:
                chip.due = math.inf  # what comes later is no news
            if choice.held or choice.release is None or chip.runs in choice.release.runs:
                continue
            wave = wave_of(plan.waves, chip.name, server.tags("blink", chip.name), "salt")
            assert wave is not None
            assert wave <= plan.current, "nobody outside of his wave"
            assert plan.waves[wave].window is None or NIGHT.is_open(world.now), "nobody outside of his window"
            rows.offer(asking, "2.0", NEW, world.now)
            rows.deliver(asking, "2.0", world.now)
            world.took.setdefault(chip.name, world.now)
            chip.runs, chip.due = OLD if chip.fails else NEW, world.now + TICK


def fleet(count: int) -> list[Chip]:
    """Return devices of all paces: some that are always there, some that wake once a day, some that slept for long."""
    luck = random.Random(count)
    chips = []
    for number in range(count):
        pace = luck.choice([7200.0, 6 * 3600.0, DAY - 3600.0, DAY + 3600.0])
        first = BEGAN + luck.uniform(0, pace) + (5 * DAY if number % 50 == 0 else 0)
        chips.append(Chip(f"mac:5C:CF:7F:00:{number >> 8:02X}:{number & 255:02X}", pace, first))
    return chips


def run(world: World, chips: list[Chip], days: float, restarts: float) -> Server:
    """Let time pass; a server ends after each tick with this probability, and another one goes on."""
    luck, server, end = random.Random(7), Server(world), world.now + days * DAY
    while world.now < end:
        world.now += TICK
        poll(server, [chip for chip in chips if chip.due <= world.now])
        server.judge()
        if luck.random() < restarts:
            server = Server(world)
    return server


@pytest.mark.proof
def test_everybody_gets_it_in_his_wave_and_window_and_nobody_is_forgotten(world: World) -> None:
    chips = fleet(2000)
    world.known([chip.name for chip in chips])
    Labels(world.secrets).set("blink", chips[0].name, TAGGED)
    labels = Labels(world.secrets)
    for chip in chips[1:6]:
        labels.set("blink", chip.name, TAGGED)
    labels.set("blink", chips[10].name, Label(pinned=True))
    world.begin(WAVES)
    pinned = chips.pop(10)

    server = run(world, chips, 8, restarts=0.2)
    assert world.plan.is_last
    assert set(world.took) == {chip.name for chip in chips}
    first = {chip.name: wave_of(WAVES, chip.name, server.tags("blink", chip.name), "salt") for chip in chips}
    for earlier, later in ((0, 1), (1, 2), (2, 3)):
        begun = [min(time for name, time in world.took.items() if first[name] == wave) for wave in (earlier, later)]
        assert begun[1] - begun[0] >= 60.0 * WAVES[earlier].soak - TICK
    assert not world.state.pointer.halted

    pointer = world.state.pointer
    found = server.advancer.counter.count("blink", "stable", pointer, server.catalog.release("blink", "2.0"))
    by_sql = world.devices.tally("blink", "stable", Rollout("2.0", BEGAN), world.now, math.inf).everybody
    counted = Counts.total(funnel.counts() for funnel in found.waves)
    assert replace(counted, eligible=0) == replace(by_sql, eligible=0)
    assert (counted.eligible, counted.confirmed, found.pinned) == (1999, 1999, 1)
    assert pinned.runs == OLD


def test_a_wave_of_which_too_many_fail_is_the_last(world: World) -> None:
    chips = fleet(400)
    world.known([chip.name for chip in chips])
    for chip in chips:
        chip.fails = True
    world.begin((Wave(percent=20), Wave(percent=100)))
    server = run(world, chips, 5, restarts=0.0)
    state = world.state
    assert state.pointer.halted
    assert world.plan.current == 0
    found = server.advancer.counter.count("blink", "stable", state.pointer, server.catalog.release("blink", "2.0"))
    assert found.waves[1].offered == 0
    assert found.waves[0].failed >= 10
    assert len(found.failed) == found.waves[0].failed
    assert {one.wave for one in found.failed} == {1}
    assert "halted" in server.events


@contextmanager
def begun(world: World, one: Wave = NAMED, **fields: object) -> Iterator[tuple[Server, Chip, Chip]]:
    """Begin a plan with two devices, of which the first is in wave `one`, and the others in the second one."""
    chips = [Chip("mac:first", 1e9, 0), Chip("mac:second", 1e9, 0)]
    world.known([chip.name for chip in chips])
    world.begin((one, Wave(percent=100, window=NIGHT)), **fields)
    yield Server(world), chips[0], chips[1]


def test_a_paused_rollout_gives_to_nobody(world: World) -> None:
    with begun(world, paused=True) as (server, first, second):
        poll(server, [first, second])
        assert world.took == {}
        server.judge()
        assert world.plan.current == 0
    world.store.point("blink", "stable", replace(world.state.pointer, paused=False), expected=world.state.generation)
    poll(Server(world), [first])
    assert set(world.took) == {"mac:first"}


def test_one_device_out_of_turn(world: World) -> None:
    with begun(world, granted=("mac:second",)) as (server, first, second):
        assert not NIGHT.is_open(world.now)
        assert server.choose(second.name, OLD).release is server.choose(first.name, OLD).release
        running = world.state.pointer
        for stopped in (replace(running, halted=True), replace(running, paused=True)):
            world.store.point("blink", "stable", stopped, expected=world.state.generation)
            world.now += 1
            choice = Server(world).choose(second.name, OLD)
            assert choice.held, "what is halted or paused is given to nobody"


def test_who_waits_for_a_window_is_told_when_it_opens(world: World) -> None:
    with begun(world) as (server, _, second):
        choice = server.choose(second.name, OLD)
        assert choice.held
        assert choice.opening is not None
        assert choice.opening == NIGHT.next_opening(world.now)
        assert server.choose(second.name, OLD) is choice, "one answer for a fleet"
        world.now = choice.opening.opens
        opened = server.choose(second.name, OLD)
        assert opened.opening is None
        assert opened.release is not None
        assert opened.release.version == "1.0", "its wave has not begun"
        assert server.choose(second.name, NEW).release is not opened.release, "who has it, keeps it"


@pytest.mark.parametrize("ending", ["forgotten", "untagged", "pinned"])
def test_a_wave_that_loses_its_last_device_waits_for_another_one(world: World, ending: str) -> None:
    with begun(world, OURS) as (server, first, second):
        assert server.problems() == [
            "wave 1 of the rollout of '2.0' waits: no device to update has the tag 'ours'; "
            "otaseal rollout approve --now begins the next one"
        ]
        server.labels.set("blink", first.name, TAGGED)
        assert server.problems() == [], "it has to answer"
        poll(server, [first])
        assert set(world.took) == {first.name}
        if ending == "forgotten":
            with world.devices.batch() as rows:
                rows.forget("blink", first.name)
        else:
            server.labels.set("blink", first.name, Label(pinned=True) if ending == "pinned" else Label())
        assert len(server.problems()) == len(Server(world).problems()) == 1
        assert world.plan.current == 0, "nobody has tried the release"
        server.labels.set("blink", second.name, TAGGED)
        poll(server, [second])
        poll(server, [second])
        assert server.problems() == []
        assert world.plan.current == 1


def test_two_that_judge_begin_a_wave_once(world: World) -> None:
    with begun(world) as (server, first, _):
        poll(server, [first])
        poll(server, [first])
        stale = world.state
        server.judge()
        assert world.plan.current == 1
        with pytest.raises(ConflictError):  # another server, which has not heard of it yet
            begin_next(world.store, Target("blink", "stable", "server"), stale, "again", world.now)
        Server(world).judge()
        assert world.plan.current == 1
        assert world.state.generation == stale.generation + 1
        events = [
            line for line in (world.store.directory / "audit.log").read_text().splitlines() if '"event":"wave"' in line
        ]
        assert len(events) == 1
        assert '"reason":"gate passed: 1 of 1 came back"' in events[0]
        assert turn(1, 1, [True, True]) is Turn.NOW


def test_a_wave_that_waits_for_a_device_is_told_between_two_counts(world: World) -> None:
    with begun(world, OURS) as (server, *_):
        server.advancer.monotonic = itertools.count().__next__  # a count takes a second
        assert len(server.problems()) == len(server.problems()) == 1
        begin_next(world.store, Target("blink", "stable", "token:anna"), world.state, "approved", world.now)
        assert server.problems() == []
        assert world.plan.current == 1


STATES: tuple[dict[str, object], ...] = ({}, {"paused": True}, {"halted": True}, {"granted": ("mac:second",)})


@pytest.mark.parametrize("fields", STATES)
@pytest.mark.parametrize("wave", [0, 1])
def test_a_server_that_starts_goes_on_where_another_was(world: World, fields: dict[str, object], wave: int) -> None:
    with begun(world) as (server, first, second):
        plan = replace(world.plan, current=wave, approved="token:alice")
        pointer = replace(world.state.pointer.with_plan(plan), **fields)  # type: ignore[arg-type]
        world.store.point("blink", "stable", pointer, expected=world.state.generation)
        for hours in range(0, 24, 3):
            world.now = BEGAN + 3600 * hours
            for chip in (first, second):
                choices = [one.choose(chip.name, OLD) for one in (server, Server(world))]
                assert len({(one.release and one.release.version, one.held, one.opening) for one in choices}) == 1
                given = choices[0].release is not None and choices[0].release.version == "2.0" and not choices[0].held
                is_granted = bool(fields.get("granted")) and chip is second
                in_turn = "paused" not in fields and (chip is first or (wave == 1 and NIGHT.is_open(world.now)))
                assert given is (not pointer.halted and (is_granted or in_turn))


def test_who_repeats_a_deployment_begins_no_wave_anew(world: World) -> None:
    with begun(world, paused=True):
        plan = world.plan.next(world.now)
        moved = Channel(world.state.pointer.with_plan(plan))
        again = RolloutOptions(waves=plan.waves).pointer("2.0", moved)
        assert (again.plan, again.paused) == (plan, True)
        other = RolloutOptions(waves=plan.waves[1:]).pointer("2.0", moved)
        assert other.plan is not None
        assert (other.plan.current, other.paused) == (0, False)


def test_who_repeats_a_deployment_ends_no_pause() -> None:
    paused = Channel(Pointer("2.0", percent=10, salt="salt", paused=True))
    assert RolloutOptions(percent=10).published("2.0", paused).paused
    assert not RolloutOptions(percent=10).published("2.1", paused).paused
    assert not RolloutOptions(percent=10).pointer("2.0", paused).paused, "who sets the share lets it go on"


def test_the_audit_log_has_a_plan_once(world: World) -> None:
    with begun(world):
        world.store.point("blink", "stable", replace(world.state.pointer, paused=True), expected=2, by="alice")
    lines = [line for _, line in audit_log.lines(world.store.directory / "audit.log") if line and "wave" in line]
    assert [(line["wave"], line["waves"], "plan" in line) for line in lines] == [(1, 2, True), (1, 2, False)]
