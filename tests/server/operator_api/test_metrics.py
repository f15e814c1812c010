"""What Prometheus is told of rollouts and alarms, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otaseal.server.operator_api.gauges import OUTCOMES, STATES
from otaseal.server.telemetry import HELP
from support.servers import Running, as_device, metrics, operator, publish, talk

DASHBOARD = Path(__file__).resolve().parents[3] / "packaging" / "grafana.json"
SAMPLE = re.compile(r"([a-z_]+)(?:\{([^}]*)\})? ([-+.e0-9]+|NaN)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            found = SAMPLE.fullmatch(line)
            assert found, line
            yield found[1], dict(LABEL.findall(found[2] or "")), float(found[3])


def texts(node: Any, key: str) -> Iterator[str]:
    """Yield all texts of a key in a document."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key and isinstance(value, str):
                yield value
            yield from texts(value, key)
    elif isinstance(node, list):
        for one in node:
            yield from texts(one, key)


def test_rollouts_and_alarms_are_counted_and_the_dashboard_asks_for_what_there_is(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "2.0", server.world.firmware(2).signed, channel="beta", percent=25)
    talk(server.world.context(), server.port, as_device("/blink/firmware.bin.signed", server.world.firmware(3)))
    operator(server).get("/healthz")
    found = list(samples(metrics(server)))

    def value(name: str, **labels: str) -> float:
        (one,) = [number for of, given, number in found if of == name and labels.items() <= given.items()]
        return one

    stable, beta = {"product": "blink", "channel": "stable"}, {"product": "blink", "channel": "beta"}
    assert [value("otaseal_rollout_devices", outcome=one, **stable) for one in OUTCOMES] == [1, 1, 1, 0, 0]
    assert [value("otaseal_rollout_state", state=one, **stable) for one in STATES] == [0, 0, 0, 1]
    assert [value("otaseal_rollout_state", state=one, **beta) for one in STATES] == [1, 0, 0, 0]
    assert (value("otaseal_rollout_percent", **beta), value("otaseal_rollout_waves", **beta)) == (25, 1)
    assert value("otaseal_listeners") == 0

    document = json.loads(DASHBOARD.read_text())
    known = {name for name, _, _ in found} | set(HELP) | {"otaseal_alarms"}
    labels = {name: set(given) for name, given, _ in found}
    expressions = [*texts(document, "expr"), *texts(document["templating"], "query")]
    asked = {name for one in expressions for name in re.findall(r"otaseal_[a-z_]+", one)}
    assert asked <= known
    assert {"otaseal_rollout_devices", "otaseal_alarms", "otaseal_webhooks_total"} <= asked
    for one in expressions:
        for name, selected in re.findall(r"(otaseal_[a-z_]+)\{([^}]*)\}", one):
            assert {label for label, _ in re.findall(r'([a-z_]+)=~?"([^"]*)"', selected)} <= labels[name], one
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    variables = {one["name"] for one in document["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(panels))) <= variables, "each variable is declared"
