"""A plan from its file to its last wave on a real server: shown, begun, paused, approved of, and one device now."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.release.plan_fields import parse_waves
from otaseal.server.operator_api.schemas import schemas
from support.command import Command, Result, otaseal, process  # noqa: F401
from support.page_client import HOME, device_page, visit
from support.servers import Firmware, Reply, Running, as_device, metrics, operator, publish, talk, until

MACS = [f"5C:CF:7F:00:00:{number:02X}" for number in range(1, 5)]
PLAN = f"""
patience = "1d"

[[wave]]
devices = "{MACS[0]}"
answers = 1
approval = "tests"

[[wave]]
percent = 100
"""


@dataclass
class Operator:
    """Who runs commands against a server, and devices that ask it."""

    server: Running
    folder: Path
    runs: dict[str, Firmware] = field(default_factory=dict)

    def __call__(self, *arguments: str) -> Result:
        said = {"OTASEAL_SERVER": self.server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_TOKEN": self.server.token}
        return process(*arguments, cwd=self.folder, OTASEAL_SERVER_CA=str(self.server.world.ca), **said)

    def ask(self, mac: str, *headers: str) -> Reply:
        """Let a device ask, and start what it gets."""
        request = as_device("/blink/firmware.bin.signed", self.runs[mac], mac)
        lines = "".join(f"{header}\r\n" for header in headers).encode()
        reply = talk(self.server.world.context(), self.server.port, request[:-2] + lines + b"\r\n")
        if reply.status == 200:
            self.runs[mac] = next(one for one in self.images if one.signed == reply.body)
        return reply

    @property
    def images(self) -> list[Firmware]:
        return [self.server.world.firmware(seed) for seed in (1, 2)]

    def show(self) -> Any:
        return operator(self.server).get("/v1/products/blink/channels/stable/rollout")

    def audit(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.server.store / "audit.log").read_text().splitlines())
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def run(server: Running, tmp_path: Path) -> Operator:
    """Return an operator whose devices all run 1.0, and are known since before the rollout."""
    run = Operator(server, tmp_path)
    publish(server, "1.0", run.images[0].signed)
    run.runs = dict.fromkeys(MACS, run.images[0])
    for mac in MACS:
        assert run.ask(mac).status == 304
    (tmp_path / "rollout.toml").write_text(PLAN)
    (tmp_path / "new.signed").write_bytes(run.images[1].signed)
    return run


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether a value is as its description says: fields, no others, and types."""
    if "$ref" in schema:
        return fits(value, schemas()[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if schema["type"] == "array":
        return isinstance(value, list) and all(fits(one, schema["items"]) for one in value)
    if schema["type"] == "object":
        properties, required = schema["properties"], set(schema.get("required", ()))
        return required <= value.keys() <= properties.keys() and all(fits(value[one], properties[one]) for one in value)
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    is_one = any(isinstance(value, kinds[name]) for name in names)  # type: ignore[arg-type]
    return is_one and value in schema.get("enum", [value])


def test_a_plan_from_its_file_to_its_last_wave(run: Operator) -> None:
    shown = run("rollout", "preview", "--plan", "rollout.toml").succeeded().out
    assert shown == (
        f"wave 1: 1 device: mac:{MACS[0]}\n"
        "  at any time; next after 1 answer, or all, the approval of tests\n"
        "wave 2: 3 devices: all others\n"
        "  at any time\n"
    )
    assert run.show()["version"] == "1.0", "nothing has begun"
    done = run("deploy", "new.signed", "--version", "2.0", "--plan", "rollout.toml", "--no-rehearse").succeeded().out
    assert done.startswith(shown)
    assert "channel 'stable': 1.0 -> 2.0, for the first of 2 waves" in done

    assert run.ask(MACS[1]).headers["x-otaseal-reason"] == "current", "it has what was before"
    run("rollout", "pause").succeeded()
    assert run.ask(MACS[0]).status == 304
    run("rollout", "pause").failed(1, "the rollout of '2.0' is paused already")
    assert run.show()["state"] == "paused"
    run("rollout", "grant", MACS[3]).failed(1, "the rollout of '2.0' is paused")
    run("rollout", "resume").succeeded()
    assert run.ask(MACS[0]).status == 200
    assert run.ask(MACS[0]).status == 304

    run("rollout", "grant", MACS[3]).succeeded()
    run("rollout", "grant", MACS[3]).succeeded()  # which changes nothing, and is nothing to be logged
    assert run.ask(MACS[3]).status == 200
    assert run.ask(MACS[2]).status == 304
    found = run.show()
    assert found["waits_for"] == ["waits for the approval of tests"]
    assert found["granted"] == [f"mac:{MACS[3]}"]
    assert [(one["state"], one["devices"], one["came_back"]) for one in found["waves"]] == [
        ("running", 1, 1),
        ("waiting", 3, 0),
    ]
    assert fits(found, {"$ref": "#/components/schemas/Rollout"})
    assert "wave 1   running: 1 of 1 came back" in run("rollout").succeeded().out

    assert "approved" in run("rollout", "approve").succeeded().out
    until(lambda: bool(run.audit("wave")), "the server began the second wave")
    (begun,) = run.audit("wave")
    assert run.show()["waves"][1]["state"] == "running"
    assert begun["reason"] == "gate passed: 1 of 1 came back; approved by token:tests"
    assert (begun["wave"], begun["waves"], begun["by"]) == (2, 2, "server")
    assert run.ask(MACS[2]).status == 200
    assert run.show()["state"] == "complete"
    for event in ("pause", "resume", "approve", "grant"):
        assert [line["by"] for line in run.audit(event)] == ["token:tests"]
    run("rollout", "approve").failed(1, "the rollout of '2.0' has no other wave")


def test_who_has_to_wait_for_a_window_is_told_so(run: Operator) -> None:
    opens = datetime.now(timezone.utc) + timedelta(minutes=50)
    hours = f"{opens:%H:%M}-{opens + timedelta(hours=2):%H:%M}"
    night = parse_waves([{"percent": 100, "window": hours, "zone": "UTC"}])
    publish(run.server, "2.0", run.images[1].signed, waves=night)
    stock, library = run.ask(MACS[0]), run.ask(MACS[1], "X-Otaseal-Capabilities: 1 proof")
    for reply in (stock, library):
        assert (reply.status, reply.headers["x-otaseal-reason"]) == (304, "window")
    assert "x-otaseal-wait" not in stock.headers
    assert "x-otaseal-wait" not in library.headers, "it asks so often that it comes once more before"
    new = "5C:CF:7F:00:00:99"
    run.runs[new] = run.images[0]
    assert 2900 <= int(run.ask(new, "X-Otaseal-Capabilities: 1 proof").headers["x-otaseal-wait"]) <= 3000 + 1800
    assert run.show()["state"] == "running", "the last wave has begun, and nobody has the release"
    told = metrics(run.server)
    assert 'otaseal_rollout_state{channel="stable",product="blink",state="running"} 1' in told
    page = visit(run.server)
    assert "Waits for its window" in page.see(f"{HOME}/channels/stable").text
    links = page.see(device_page(f"mac:{MACS[0]}")).links
    assert any("device/grant?" in link for link in links), "it may have it at once"
    run("rollout", "grant", MACS[0]).succeeded()
    assert run.ask(MACS[0]).status == 200


def test_a_device_that_failed_is_named_with_its_error_in_words(run: Operator) -> None:
    publish(run.server, "2.0", run.images[1].signed, max_failed=100)
    for mac in MACS[:2]:
        assert run.ask(mac).status == 200
    for mac, error in ((MACS[0], "35"), (MACS[1], "0")):
        run.runs[mac] = run.images[0]
        run.ask(mac, f"X-Otaseal-Error: {error}")
    found = run.show()
    assert fits(found, {"$ref": "#/components/schemas/Rollout"})
    assert [(one["device"], one["text"]) for one in found["failed"]] == [
        (f"mac:{MACS[0]}", "the image is for another board"),
        (f"mac:{MACS[1]}", "it came back with what it ran before, and said no error"),
    ]
    assert found["waves"][0] | {"plan": None} == found["waves"][0] | {"plan": None, "devices": 4, "failed": 2}
    assert f"failed   mac:{MACS[0]}: the image is for another board" in run("rollout").succeeded().out


def test_what_a_release_is_for_is_shown_before_it_is_given_out(run: Operator) -> None:
    (run.folder / "notes.txt").write_text("Closes the door.\nUpdate soon.\n")
    said = ("--notes", "notes.txt", "--severity", "security", "--cve", "CVE-2026-12345")
    lines = "release  2.0  [security]\n  closes CVE-2026-12345\n  | Closes the door.\n  | Update soon.\n"
    image, plan = ("new.signed", "--version", "2.0", "--no-rehearse"), ("--plan", "rollout.toml")
    run("deploy", *image, "--channel", "beta", "--cve", "soon").failed(1, "'SOON' is no CVE number")
    run("deploy", *image, "--channel", "beta", "--sbom", "notes.txt").failed(1, "'notes.txt': the sbom is not JSON")
    assert "2.0" not in run("releases").succeeded().out, "what cannot be said is found before it is out"
    assert run("deploy", *image, "--channel", "beta", *said).succeeded().out.startswith(lines)
    deployed = run("deploy", *image, "--channel", "gamma", *plan).succeeded().out
    promoted = run("promote", "beta", *plan).succeeded().out
    for shown in (deployed, promoted):
        assert shown.startswith(f"{lines}wave 1: ")
    assert run("promote", "--version", "2.0", "--to", "beta").succeeded().out.startswith(f"{lines}channel  beta")
    assert lines.partition("\n")[2] in run("releases").succeeded().out  # behind alarms, if there are any by then
    assert "[security]" not in run("promote", "--version", "1.0", "--to", "delta").succeeded().out
    found = run("promote", "--version", "2.0", "--json").succeeded().json
    assert found["channel"]["version"] == "2.0"
    told = {"severity": "security", "cves": "CVE-2026-12345", "notes": "Closes the door.\nUpdate soon.", "advisory": ""}
    assert found["notes"] == told
    assert run("deploy", *image, "--channel", "epsilon", "--json").succeeded().json["notes"] == told
    assert run("promote", "--version", "1.0", "--json").succeeded().json["notes"] == dict.fromkeys(told, "")
    assert "notes" not in run("promote", "--percent", "50", "--json").succeeded().json


def test_a_wave_with_a_mistyped_tag_waits(run: Operator) -> None:
    (run.folder / "rollout.toml").write_text('[[wave]]\ntags = "our"\n[[wave]]\npercent = 100\n')
    waits = "no device to update has the tag 'our'"
    shown = run("promote", "--version", "1.0", "--plan", "rollout.toml").succeeded().out
    assert (
        f"wave 1: 0 devices: tag our\n  at any time; next after 10 answers, or all\n  {waits}: the wave waits" in shown
    )
    assert waits in run.show()["waits_for"]
    assert run.show()["waves"][1]["state"] == "waiting"
    run("rollout", "approve", "--now").succeeded()
    assert run.show()["waves"][1]["state"] == "running"


def test_what_nobody_has_is_named_beside_what_somebody_has(run: Operator) -> None:
    run("devices", "tag", f"mac:{MACS[0]}", "ours").succeeded()
    (run.folder / "rollout.toml").write_text(
        f'[[wave]]\ntags = ["ours", "our"]\n[[wave]]\ndevices = ["{MACS[1]}", "{MACS[1][:-2]}99"]\npercent = 100\n'
    )
    shown = run("rollout", "preview", "--plan", "rollout.toml").succeeded().out
    assert shown == (
        "wave 1: 1 device: tag ours or tag our\n  at any time; next after 10 answers, or all\n"
        "  no device to update: tag our\n"
        f"wave 2: 3 devices: mac:{MACS[1]}, mac:{MACS[1][:-2]}99 and all others\n  at any time\n"
        f"  no device to update: mac:{MACS[1][:-2]}99\n"
    )
    answer = run("rollout", "preview", "--plan", "rollout.toml", "--json").succeeded().json
    assert fits(answer, {"$ref": "#/components/schemas/Preview"})
    assert [one["missing"] for one in answer["waves"]] == [["tag our"], [f"mac:{MACS[1][:-2]}99"]]


def test_a_ramp_halted_and_begun_again_by_hand(run: Operator) -> None:
    run("promote", "--version", "1.0", "--ramp", "10,50", "--soak", "2h").succeeded()
    assert "soaks until" in "".join(run.show()["waits_for"])
    assert [one["who"] for one in run.show()["waves"]] == ["10 % of the others", "50 % of the others"]
    run("rollout", "approve").failed(1, "wave 1 waits for nobody's approval")
    assert "the next wave has begun" in run("rollout", "approve", "--now").succeeded().out
    assert run.show()["percent"] == 50
    run("rollout", "halt").succeeded()
    run("rollout", "grant", MACS[0]).failed(1, "the rollout of '1.0' is halted")
    assert run.show()["state"] == "halted"
    run("rollout", "resume").succeeded()
    assert run("promote", "--percent", "100", "--json").succeeded().json["channel"]["waves"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rollout", "preview"), "'preview' has no plan"),
        (("rollout", "--ramp", "1,100"), "'show' has a plan"),
        (("rollout", "grant"), "'grant' has no device"),
        (("rollout", "pause", "--now"), "--now is not for 'pause'"),
        (("promote", "beta", "--percent", "10", "--ramp", "1,100"), "--ramp and --percent contradict each other"),
        (("promote", "beta", "--soak", "2h"), "--soak is given, and no --ramp"),
        (("promote", "beta", "--ramp", "10,1"), "wave 2 has 1 %"),
        (("rollout", "preview", "--plan", "bad.toml"), "'bad.toml': wave 1: 'who' is nothing that a wave has"),
        (("rollout", "preview", "--plan", "no.toml"), "'no.toml' is not TOML"),
    ],
)
def test_what_makes_no_sense_is_refused(
    otaseal: Command,  # noqa: F811 - the fixture
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.toml").write_text('[[wave]]\nwho = "all"\n')
    (tmp_path / "no.toml").write_bytes(b"[[wave\xff")
    otaseal(*arguments, "--server", "https://localhost:1", "--product", "blink").failed(2, message)


def test_the_server_refuses_what_it_cannot_do(run: Operator) -> None:
    client, path = operator(run.server), "/v1/products/blink/channels/stable/rollout"
    for where, body, message in (
        ("grant", {"device": "mac:00:00:00:00:00:00"}, "no device 'mac:00:00:00:00:00:00' asks in channel"),
        ("grant", {}, "no device is named"),
        ("resume", {}, "is not stopped"),
        ("approve", {"now": 1}, "now is '1'"),
        ("preview", {"waves": []}, "the plan has 0 waves"),
        ("preview", {"waves": [{"percent": 100, "window": "02:00-04:00", "zone": "Mars"}]}, "no time zone 'Mars'"),
        ("pause", {"why": "fun"}, "'why' is not a field here"),
    ):
        with pytest.raises(InputError, match=message):
            client.post(f"{path}/{where}", body)
    shown = client.post(f"{path}/preview", {"waves": [{"percent": 10, "soak": "2h"}, {"tags": ["ours"]}]})
    assert fits(shown, {"$ref": "#/components/schemas/Preview"})
    assert sum(wave["devices"] for wave in shown["waves"]) + shown["rest"]["devices"] == len(MACS)
    with pytest.raises(InputError, match="percent and waves are both given"):
        client.post(f"{path[:-8]}/promote", {"version": "1.0", "percent": 5, "waves": [{"percent": 100}]})
    waves = [{"percent": 10, "approval": ["alice"]}, {"percent": 100}]
    client.post(f"{path[:-8]}/promote", {"version": "1.0", "waves": waves})
    with pytest.raises(InputError, match="'token:tests' cannot approve of this wave, but alice"):
        client.post(f"{path}/approve", {"now": True})
