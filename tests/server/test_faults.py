"""Random faults of two servers, HAProxy, and the database with its standby, under load: what must hold in all of them.

OTASEAL_FAULTS says how many, OTASEAL_FAULT_SEED which ones, OTASEAL_FAULT_SECONDS how long one lasts at most.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from otaseal.store.backend import open_backend
from support import cluster, faults
from support.cluster import ENVIRONMENT
from support.promises import Span
from support.servers import PRODUCT, World, until
from support.trial import Trial, trial

pytestmark = pytest.mark.proof

COUNT = int(os.environ.get("OTASEAL_FAULTS", "20"))
SEED = int(os.environ.get("OTASEAL_FAULT_SEED", "14"))
LONGEST = float(os.environ.get("OTASEAL_FAULT_SECONDS", "0.8"))


def test_random_faults_under_load(world: World) -> None:
    with trial(world) as tried:
        with tried.load(lambda: tried.operator(SEED)):
            for number, (fault, part) in enumerate(faults.drawn(SEED, COUNT), 1):
                _happens(tried, fault, part * LONGEST, number)
        record = tried.record
        print({outcome: record.count(outcome) for outcome in ("done", "refused", "maybe")}, len(record.answers))
        print("\n".join(record.failures()))
        assert record.wrong_answers() == []
        assert record.unserved() == []
        assert record.dishonest() == []
        agree(tried)
        assert_kept(tried)


def _happens(trial: Trial, fault: faults.Fault, seconds: float, number: int) -> None:
    """Let a fault happen for so long, and wait until all goes on."""
    began = time.monotonic()
    with fault.run(trial.five):
        trial.over.wait(seconds)
    healed = time.time()
    until(lambda: trial.five.in_touch(healed), f"a server does not see the database after '{fault.name}'")
    trial.record.spans.append(Span(began, time.monotonic(), fault.name, fault.hides_database, fault.hits_database))
    trial.heals(fault.name)
    print(f"{number:3} {fault.name:18} {seconds:4.1f} s, healed after {time.monotonic() - began:5.1f} s", flush=True)


def agree(trial: Trial) -> None:
    """Fail unless all is well again by itself: both servers say so, and say the same, and know what devices run."""
    for name in cluster.SERVERS:
        until(lambda name=name: trial.server(name, "/healthz").body == b'{"status": "ok"}', f"{name} is not well")
    context = trial.five.world.context()
    while any(trial.poll(context, device).status != 304 for device in trial.runs):
        pass
    for name in cluster.SERVERS:
        until(lambda name=name: _listed(trial, name) == _said(trial), f"{name} does not know what devices run")
    products = [trial.server(name, f"/v1/products/{PRODUCT}", trial.five.token).body for name in cluster.SERVERS]
    assert products[0] == products[1]


def _listed(trial: Trial, name: str) -> dict[str, str]:
    body = trial.five.operator().get(f"/v1/products/{PRODUCT}/devices?limit=500")
    return {device["mac"]: device["running"] for device in body["devices"]}


def _said(trial: Trial) -> dict[str, str]:
    return dict(trial.runs)


def assert_kept(trial: Trial) -> None:
    """Fail unless all that was acknowledged is in the database, in its order and whole."""
    with open_backend(trial.five.url) as backend:
        audit = [line for _, line in backend.store.documents.audit_lines() if line is not None]
        versions = set(backend.store.releases(PRODUCT))
        current = backend.store.current(PRODUCT, "stable")
    assert trial.record.lost(audit) == []
    assert set(trial.published()) <= versions
    assert current is not None
    states = trial.record.requests[-1].states
    assert (current.pointer.version, current.pointer.percent) in {state[:2] for state in states}
    command = [sys.executable, "-m", "otaseal", "store", "check", trial.five.url]
    checked = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
