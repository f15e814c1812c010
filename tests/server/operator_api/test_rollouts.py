"""Who may approve of a wave, and which devices need their grants no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otaseal.release.waves import Plan, Wave
from otaseal.server.operator_api import rollouts
from otaseal.server.operator_api.uploads import Refused
from otaseal.store.device_rows import Sighting
from support.devices import Open, open_devices

__all__ = ["open_devices"]

OLD, NEW = "0" * 32, "1" * 32


@pytest.mark.parametrize(
    ("approval", "who", "may"),
    [
        ("alice", "token:alice", True),
        ("alice", "certificate:alice", True),
        ("alice", "token:bob", False),
        ("alice", "oidc:alice", False),
        ("oidc:github#alice", "oidc:github#alice", True),
        ("oidc:github#alice", "oidc:gitlab#alice", False),
        ("github#alice", "oidc:github#alice", False),
        ("token:alice", "oidc:token:alice", False),
        ("*", "oidc:github#alice", True),
        ("alice", "mqtt:install", False),
    ],
)
def test_the_subject_of_an_issuer_is_no_operator_of_that_name(approval: str, who: str, may: bool) -> None:
    plan = Plan((Wave(percent=10, approval=(approval,)), Wave(percent=100)))
    if may:
        rollouts._require_named(plan, who)
    else:
        with pytest.raises(Refused, match="cannot approve of this wave"):
            rollouts._require_named(plan, who)


def test_a_grant_is_needed_until_the_device_is_back_with_that_release(open_devices: Open) -> None:
    with open_devices() as devices:
        context: Any = SimpleNamespace(fleet=SimpleNamespace(devices=devices))
        assert not rollouts._came_back(context, "blink", "mac:A", "2.0")
        devices.see(Sighting("blink", "stable", "mac:A", OLD), 1.0)
        devices.offer("blink", "mac:A", "1.0", NEW, 2.0)
        devices.deliver("blink", "mac:A", "1.0", 3.0)
        devices.see(Sighting("blink", "stable", "mac:A", NEW), 4.0)
        assert rollouts._came_back(context, "blink", "mac:A", "1.0")
        assert not rollouts._came_back(context, "blink", "mac:A", "2.0"), "it has not asked since the grant"
