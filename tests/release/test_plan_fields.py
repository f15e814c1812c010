"""What `rollout.toml` may say, and what a pointer keeps of it; what is wrong is named with its wave."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from otaseal.errors import ConfigError, InputError, LaterFormatError
from otaseal.release import checksummed
from otaseal.release.channels import MAX_CHANNEL_BYTES, Channel, Pointer
from otaseal.release.plan_fields import PlanFile, parse_file, parse_waves, ramp, wave_fields
from otaseal.release.waves import ANYBODY, Plan, Wave
from otaseal.release.windows import parse_window
from support.rollouts import plans

NIGHT = parse_window("02:00-04:00", "Europe/Berlin", "mon-fri")
WAVES = (
    Wave(tags=("ours",), devices=("mac:5C:CF:7F:F0:04:CB", "cert:kitchen"), soak=1440, answers=3, approval=("alice",)),
    Wave(percent=10, window=NIGHT, max_failed=0, approval=(ANYBODY,)),
    Wave(percent=100, window=parse_window("22:00-04:00", "UTC")),
)
FIELDS: dict[str, Any] = {
    "zone": "Europe/Berlin",
    "patience": "90m",
    "max_failed": 3,
    "wave": [
        {
            "tags": "ours",
            "devices": ["5c:cf:7f:f0:04:cb", "cert:kitchen"],
            "soak": "1d",
            "answers": 3,
            "approval": "alice",
        },
        {"percent": 10, "window": "02:00-04:00", "days": "mon-fri", "max_failed": 0, "approval": "*"},
        {"percent": 100, "window": "22:00-04:00", "zone": "UTC"},
    ],
}


def test_a_file_is_read() -> None:
    assert parse_file(FIELDS) == PlanFile(WAVES, 3, 90)


def test_what_is_said_once_is_for_all_waves() -> None:
    plan = parse_file({"soak": "2h", "wave": [{"percent": 1}, {"percent": 5, "soak": 0}, {"percent": 100}]})
    assert [wave.soak for wave in plan.waves] == [120, 0, 120]


def test_a_ramp() -> None:
    assert ramp("1,10,50,100", "2h") == tuple(Wave(percent=share, soak=120) for share in (1, 10, 50, 100))


@pytest.mark.parametrize("text", ["", "1,", "10,1", "0,100", "1,101", "1, 10", "ten", "10,10", "1000"])
def test_what_is_no_ramp(text: str) -> None:
    with pytest.raises(ConfigError):
        ramp(text)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "the plan has no waves"),
        ({"wave": []}, "the plan has 0 waves"),
        ({"wave": [{"tags": ["a"]}] * 17}, "the plan has 17 waves"),
        ({"wave": [7]}, "the plan has no waves"),
        ({"waves": []}, "'waves' is nothing that the plan has"),
        ({"wave": [{"percent": 10}, {"percnt": 100}]}, "wave 2: 'percnt' is nothing that a wave has"),
        ({"wave": [{"percent": True}]}, "wave 1: percent is 'True'"),
        ({"wave": [{"percent": 10.5}]}, "wave 1: percent is '10.5'"),
        ({"wave": [{"percent": 101}]}, "wave 1: percent is '101'"),
        ({"wave": [{"tags": ["Beta"]}]}, "wave 1: 'Beta' cannot be a tag"),
        ({"wave": [{"tags": {"a": 1}}]}, "wave 1: '{'a': 1}' is no list of tags"),
        ({"wave": [{"devices": ["a b"]}]}, "wave 1: 'a b' cannot be a device"),
        ({"wave": [{"devices": ["5C:CF:7F:F0:04:C"]}]}, "wave 1: '5C:CF:7F:F0:04:C' cannot be a device"),
        ({"wave": [{"percent": 1, "approval": ["a b"]}]}, "wave 1: 'a b' cannot be an operator"),
        ({"wave": [{"percent": 1, "approval": "oidc:alice"}]}, "wave 1: 'oidc:alice' names no issuer"),
        ({"wave": [{"percent": 100, "window": "02:00-04:00"}]}, "wave 1: the window '02:00-04:00' has no time zone"),
        ({"wave": [{"percent": 100, "days": "mon"}]}, "wave 1: days are given, and no window"),
        ({"wave": [{"percent": 100, "soak": "2 hours"}]}, "wave 1: soak is '2 hours'"),
        ({"wave": [{"percent": 100, "soak": "91d"}]}, "wave 1: soak is '91d'"),
        ({"wave": [{"percent": 100, "answers": 0}]}, "wave 1: answers is '0'"),
        ({"max_failed": 101, "wave": [{"percent": 100}]}, "max_failed is '101'"),
        ({"patience": "400d", "wave": [{"percent": 100}]}, "patience is '400d'"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_file(fields)
    assert wrong in caught.value.message
    assert caught.value.hint


def test_waves_are_sent_and_kept_as_they_are() -> None:
    sent = json.loads(json.dumps([wave_fields(wave) for wave in WAVES]))
    assert parse_waves(sent) == WAVES
    pointer = replace(Pointer("1.0", salt="salt").with_plan(Plan(WAVES, 1, 1_800_000_000, "token:alice")), paused=True)
    channel = Channel(replace(pointer, granted=("mac:5C:CF:7F:F0:04:CB",)), 7, ("0.9",))
    assert Channel.from_json(channel.to_json()) == channel
    assert channel.pointer.percent == 10
    assert not channel.pointer.complete


@settings(max_examples=60, deadline=None)
@given(plans())
def test_every_plan_comes_back_from_its_fields(plan: Plan) -> None:
    assert parse_waves(json.loads(json.dumps([wave_fields(wave) for wave in plan.waves]))) == plan.waves


def test_a_pointer_without_a_plan_is_what_it_was() -> None:
    kept = json.loads(Channel(Pointer("1.0", 25, "salt")).to_json())
    assert set(kept) == {"format", "sha256", "generation", "version", "percent", "salt", "halted", "history"}
    assert Pointer("1.0", 25).waves == (Wave(percent=25),)


def with_plan(**changes: Any) -> bytes:
    """Return a pointer file with another plan, whose checksum holds."""
    fields = json.loads(Channel(Pointer("1.0").with_plan(Plan(WAVES))).to_json())
    kept = {name: value for name, value in fields.items() if name not in ("format", "sha256")}
    return checksummed.dump({**kept, "plan": {**kept["plan"], **changes}})


def test_a_plan_of_a_later_otaseal_is_called_that() -> None:
    for data in (with_plan(freeze=True), with_plan(waves=[{"percent": 100, "moon": "full"}])):
        with pytest.raises(LaterFormatError):
            Channel.from_json(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"current": 3},
        {"current": "0"},
        {"began": True},
        {"approved": None},
        {"waves": []},
        {"current": 1},
        {"waves": [7]},
    ],
)
def test_a_plan_that_nobody_wrote_is_damage(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        Channel.from_json(with_plan(**changes))
    assert not isinstance(caught.value, LaterFormatError)


def test_a_plan_fits_a_pointer_file_or_is_refused() -> None:
    names = tuple(f"cert:{number:0120}" for number in range(64))
    with pytest.raises(InputError, match=f"{MAX_CHANNEL_BYTES} are the most"):
        Channel(Pointer("1.0").with_plan(Plan((Wave(devices=names),)))).to_json()
