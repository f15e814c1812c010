"""What people are told of rollouts: who has to approve, and each alarm once, by one server of several."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from otaseal.release.channels import Pointer
from otaseal.release.waves import Plan, Wave
from otaseal.server.alarms import Alarm, Alarms, Problem
from otaseal.server.catalog import Catalog
from otaseal.server.operator_api.rollout_options import UptimeClock
from otaseal.server.process.rollout_news import REPEAT_SECONDS, Notices, RolloutNews
from otaseal.server.telemetry import Telemetry
from otaseal.store.backend import open_backend
from otaseal.store.files import DEVICES_FILE
from otaseal.store.store import Store
from support.devices import Devices
from support.filled_store import new_location
from support.releases import make_release
from support.servers import until


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def __call__(self, kind: str, data: Mapping[str, Any]) -> None:
        self.said.append((kind, data.get("text") or data.get("version")))


def test_a_wave_that_waits_for_a_person_alone_is_an_alarm(tmp_path: Path) -> None:
    store, telemetry = Store.create(tmp_path / "store"), Telemetry(lambda event: True)
    store.publish(make_release("1.0", b"image"), [b"image"])
    plan = Plan((Wave(percent=10, approval=("anna",), soak=1), Wave(percent=100)), began=int(time.time()))
    pointer = Pointer("1.0", salt="x").with_plan(plan)
    store.point("blink", "stable", pointer, expected=0)
    with Devices(tmp_path / "store" / DEVICES_FILE) as devices:
        news = RolloutNews(Catalog(store), devices, UptimeClock(lambda jump: None), telemetry, Told())

        def standing() -> list[tuple[str, str, str]]:
            news.look(leading=True)
            return [alarm[:1] + alarm[2:4] for alarm in telemetry.alarms.listed() if alarm.until is None]

        assert standing() == [], "it soaks"
        ripe = pointer.with_plan(replace(plan, began=plan.began - 120))
        store.point("blink", "stable", ripe, expected=1)
        assert standing() == [("approval", "blink", "stable")]
        (alarm,) = telemetry.alarms.listed()
        assert alarm.text == "wave 2 of the rollout of '1.0' waits for the approval of anna"
        assert ripe.plan is not None
        store.point("blink", "stable", ripe.with_plan(replace(ripe.plan, approved="anna")), expected=2)
        assert standing() == []
        store.point("blink", "stable", replace(ripe, halted=True), expected=3)
        assert standing() == [("halted", "blink", "stable")]


def test_a_moment_is_told_once_in_a_while_and_what_all_see_by_one_server() -> None:
    told, times = Told(), [1.0, 2.0, REPEAT_SECONDS, REPEAT_SECONDS + 1, 1000.0, 1000.0, 1000.0]
    notices, alarms = Notices(told), Alarms(lambda: times.pop(0))
    alarms.watchers.append(notices.alarm)
    for _ in range(4):
        alarms.moment("fault", Problem("it broke"))
    assert told.said == [("alarm.began", "it broke")] * 2
    told.said.clear()
    notices.leading = False
    alarms.set("disk", [Problem("mine is full")])
    alarms.set("halted", [Problem("halted", "blink", "stable")])
    alarms.set("disk", [])
    assert told.said == [("alarm.began", "mine is full"), ("alarm.ended", "mine is full")]
    assert isinstance(alarms.listed()[0], Alarm)


def test_one_server_of_several_leads_and_another_one_when_it_has_gone(tmp_path: Path) -> None:
    location = new_location("postgresql", tmp_path)
    with open_backend(location, "one", create=True) as first, open_backend(location, "two") as second:
        assert [first.leads(), second.leads(), first.leads()] == [True, False, True]
        first.close()
        until(second.leads, "nobody leads")  # the database sees a moment later that it has gone
    with open_backend(new_location("files", tmp_path), create=True) as alone:
        assert alone.leads()
