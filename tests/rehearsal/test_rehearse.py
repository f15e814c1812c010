"""`otaseal rehearse` with a real server and real files: green if a device would take it, red with the right reason."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image.manifest import Claim
from otaseal.rehearsal import markdown
from otaseal.rehearsal.comparison import Row
from otaseal.rehearsal.report import Phase, Report
from otaseal.release.records import Origin
from otaseal.simulator.flash import layout
from otaseal.simulator.report import Step
from support.built import ENVIRONMENT, BuiltProject
from support.by_bytes import sign_firmware
from support.command import Command, Result, otaseal
from support.images import Signer, build_image
from support.servers import Running, World, operator, publish

__all__ = ["otaseal"]

SIGNED = f".pio/build/{ENVIRONMENT}/firmware.bin.signed"


@pytest.fixture
def project(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, server: Running) -> BuiltProject:
    (tmp_path / "blink").mkdir()
    made = BuiltProject(tmp_path / "blink", rsa_key, server)
    channel = re.sub("[^a-z0-9]", "-", tmp_path.name)[:60]
    made.lines |= {
        "custom_otaseal_channel": channel,
        "custom_otaseal_version": "1.0.0",
        "board_build.ldscript": "eagle.flash.4m1m.ld",
    }
    made.configure()
    made.build_filesystem(layout("4m1m"))
    return made


@pytest.fixture
def rehearse(project: BuiltProject, otaseal: Command) -> Command:
    def run(*arguments: str | Path) -> Result:
        return otaseal("rehearse", "--project", project.folder, *arguments)

    return run


def failed(result: Result) -> dict[str, Any]:
    """Return the one step that failed."""
    assert result.code == 1, result.out
    found = [step for act in result.json["acts"] for step in act["steps"] if not step["ok"]]
    assert len(found) == 1, found
    assert found[0]["fix"]
    return dict(found[0])


def titles(result: Result) -> list[str]:
    return [act["title"] for act in result.json["acts"]]


def test_before_a_release_is_published(rehearse: Command, server: Running) -> None:
    result = rehearse("--json").succeeded()
    assert result.json["good"] is True
    assert result.json["partly"] is False
    assert any(one.startswith("a device meets the live server: https://localhost") for one in titles(result))
    live = result.json["acts"][2]["steps"]
    assert live[-1]["checked"].startswith("404: nothing is published there yet")
    assert titles(result)[-1] == "poll 2: it is told that it is up to date"
    assert operator(server).get("/v1/products/blink/devices")["devices"] == [], "a rehearsal left a trace"


def test_the_manifest_says_which_release_it_is(rehearse: Command, project: BuiltProject) -> None:
    claim = Claim("blink", ENVIRONMENT, "1.0.0")
    signed = sign_firmware(project.raw, Signer(project.key), embeds_key=True, claim=claim)
    project.write(SIGNED, signed)
    rehearse("--json", "--offline").succeeded()
    project.configure(custom_otaseal_version="1.1.0")
    step = failed(rehearse("--json", "--offline"))
    assert step["reason"] == "the manifest is for version '1.0.0', and the release is called '1.1.0'"
    project.configure(custom_otaseal_version=None)
    assert "blink 1.0.0" in rehearse("--offline").succeeded().out
    project.configure(custom_otaseal_product=None)
    rehearse("--offline").failed(2, "the manifest is for a product, and none is named")


def test_a_published_release_is_taken_from_the_live_server_itself(
    rehearse: Command, project: BuiltProject, server: Running
) -> None:
    old = project.raw
    signed = project.build(project.key, seed=2)
    publish(server, "1.0.0", signed, channel=project.lines["custom_otaseal_channel"])
    (project.folder / "old.bin").write_bytes(old)
    result = rehearse("--from", project.folder / "old.bin", "--json").succeeded()
    assert len(titles(result)) == 5, "no loopback was needed"
    assert result.json["acts"][2]["steps"][-1]["name"] == "result"
    assert "another release" not in result.out


def test_the_release_that_is_given_out_now_is_what_devices_run(
    rehearse: Command, project: BuiltProject, server: Running
) -> None:
    channel = project.lines["custom_otaseal_channel"]
    publish(server, "0.9.0", (project.folder / SIGNED).read_bytes(), channel=channel)
    project.build(project.key, seed=2)
    result = rehearse("--json").succeeded()
    assert not [one for one in result.json["unchecked"] if "twin" in one]
    assert result.json["acts"][2]["steps"][-1]["checked"].startswith("304")


def test_the_power_fails_at_every_operation(rehearse: Command) -> None:
    result = rehearse("--power-cuts", "--offline").succeeded()
    table = result.out.split("\n\n")[-2:]
    assert all(len(line) <= 80 for text in table for line in text.splitlines())
    staged, copied = rehearse("--power-cuts", "--offline", "--json").succeeded().json["power_cuts"]
    assert (staged["lost"], staged["old"]) == ([], staged["operations"])
    assert copied["tried"] == copied["operations"] > 50
    refused = rehearse("--power-cuts", "--offline", "--flash-mode", "qio")
    assert refused.out.endswith("power cuts: none, the device refuses this update\n")
    assert f"{len(copied['lost'])} of {staged['tried'] + copied['tried']} power cuts lose the chip" in result.out


def test_people_see_steps_a_map_and_what_was_not_checked(rehearse: Command, tmp_path: Path) -> None:
    result = rehearse("--svg", tmp_path / "flash.svg", "--repeat", "3").succeeded()
    text = result.out
    assert "  ok      signature" in text
    assert "staged  |#" in text
    assert "poll 3: it is told that it is up to date" in text
    assert "  ok      power-cut" in text
    assert text.splitlines()[-1] == "a device would take this update"
    drawn = ElementTree.parse(tmp_path / "flash.svg").getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawn.findall("{http://www.w3.org/2000/svg}rect")) > 10


def test_a_stranger_signature_is_refused_by_server_and_device(
    rehearse: Command, project: BuiltProject, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    from otaseal.image import signed_image
    from support.images import Signer

    project.write(SIGNED, signed_image.sign(project.raw, Signer(other_rsa_key)))
    result = rehearse("--json")
    steps = [step for act in result.json["acts"] for step in act["steps"] if not step["ok"]]
    assert [one["name"] for one in steps] == ["admission", "signature"]
    assert (steps[1]["error"], steps[1]["fact"]) == (12, "F1")
    assert "a device would NOT take this update" in rehearse().out


def test_the_device_and_its_clock_can_be_chosen(rehearse: Command, project: BuiltProject) -> None:
    late = failed(rehearse("--clock", "2031-01-01", "--json"))
    assert (late["name"], late["error"]) == ("certificate-chain", 54)
    unset = failed(rehearse("--clock", "1970", "--offline", "--json"))
    assert (unset["error"], unset["fact"]) == (54, "F25")
    other_mode = failed(rehearse("--flash-mode", "qio", "--offline", "--json"))
    assert (other_mode["name"], other_mode["error"], other_mode["fact"]) in (
        ("signature", 12, "F7"),
        ("answer", -103, "F29"),
    )
    assert "build with the flash mode that the chips run in" in other_mode["fix"]
    assert rehearse("--core", "2.7.4", "--offline").code == 0
    rehearse("--core", "2.4.2", "--offline").failed(2, "core 2.4.2 verifies nothing")
    rehearse("--core", "6.0.0", "--offline").failed(2, "core release '6.0.0' is not known to the virtual device")
    old_core = failed(rehearse("--core", "2.5.2", "--offline", "--json"))
    assert old_core["fact"] == "F3"


def test_a_filesystem_that_does_not_mount_is_named(rehearse: Command, project: BuiltProject) -> None:
    project.build_filesystem(layout("4m1m"), version=0x0002_0001)
    result = rehearse("--offline", "--json")
    assert result.code == 1
    broken = next(step for act in result.json["acts"] for step in act["steps"] if not step["ok"])
    assert (broken["name"], broken["fact"]) == ("filesystem", "F15b")


def test_a_foreign_authority_is_refused_at_the_live_server(
    rehearse: Command, project: BuiltProject, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    (tmp_path / "other").mkdir()
    project.write("certs/ca.pem", World.create(tmp_path / "other", other_rsa_key).ca.read_bytes())
    project.pack()
    project.build_filesystem(layout("4m1m"))
    step = failed(rehearse("--json"))
    assert (step["name"], step["error"]) == ("certificate-chain", 62)
    assert "put the server's authority into the project's certificates" in step["fix"]


def test_without_image_or_package_it_says_what_was_left_out(
    rehearse: Command, project: BuiltProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.folder / f".pio/build/{ENVIRONMENT}/littlefs.bin").unlink()
    result = rehearse("--json").succeeded()
    assert result.json["partly"] is True
    assert any("filesystem image, which is not built yet" in one for one in result.json["unchecked"])
    project.build_filesystem(layout("4m1m"))

    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr("otaseal.rehearsal.setup.find_spec", lambda name: None if name == "littlefs" else real(name))
    result = rehearse("--json").succeeded()
    assert any("'littlefs-python' is not installed" in one for one in result.json["unchecked"])


@pytest.mark.proof
def test_everything_hostile_is_refused(rehearse: Command) -> None:
    result = rehearse("--offline", "--hostile", "--json").succeeded()
    rows = {one["name"]: one for one in result.json["hostile"]}
    assert all(one["ok"] for one in rows.values())
    taken = {name for name, one in rows.items() if one["verdict"] == "accepted (stock)"}
    assert taken == {"other board", "downgrade"}
    assert (rows["tampered image"]["error"], rows["tampered image"]["step"]) == (12, "signature")
    assert rehearse("--offline", "--hostile").out.splitlines()[-1] == (
        "16 of 18 refused as they have to be, 2 taken by a stock device, which the OtaSeal library refuses"
    )


def test_a_clock_that_decides_nothing_is_named(rehearse: Command, project: BuiltProject) -> None:
    project.lines["custom_otaseal_product"] = ""  # so that no server says where devices ask
    project.configure()
    result = rehearse("--clock", "2031-01-01", "--json").succeeded()
    assert "the chosen clock: only a live server's certificates depend on it, and none is met" in result.out


def test_a_live_server_that_is_not_there_is_to_be_started(rehearse: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        step = failed(rehearse("--url", f"https://localhost:{taken.getsockname()[1]}/x", "--json"))
    assert (step["name"], step["fix"]) == (
        "handshake",
        "start the server, and check the name, the port and the firewall",
    )


def test_a_name_that_no_host_can_have_is_said(rehearse: Command) -> None:
    for host in ("a..b", "a" * 300):
        rehearse("--url", f"https://{host}/x").failed(2, f"'{host}' is neither an address nor a host name")


def test_a_device_that_verifies_nothing_makes_the_table_fail(rehearse: Command, project: BuiltProject) -> None:
    raw = build_image(seed=3, code_size=20_000)
    (project.folder / "old.bin").write_bytes(raw)
    rehearse("--offline", "--hostile", "--from", project.folder / "old.bin").failed(1, "carries no public key")


def test_wrong_options_are_named(rehearse: Command, project: BuiltProject) -> None:
    rehearse("--clock", "soon").failed(2, "--clock 'soon' is not a date")
    rehearse("--layout", "5m").failed(2, "flash layout '5m' is not one of the core's")
    rehearse("--repeat", "0").failed(2, "--repeat is '0'")
    rehearse("--device-key", "x").failed(2, "without --device-cert")
    for unused in (("--url", "https://localhost/x"), ("--clock", "2031-01-01"), ("--device-cert", "x")):
        rehearse("--offline", *unused).failed(2, f"{unused[0]} has no effect with --offline")
    (project.folder / SIGNED).unlink()
    rehearse().failed(1, "there is no 'firmware.bin.signed'")


def test_deploy_rehearses_and_the_server_keeps_it(
    project: BuiltProject, server: Running, otaseal: Command, tmp_path: Path
) -> None:
    def deploy(version: str, *options: str | Path) -> Result:
        return otaseal(
            *("deploy", project.folder / SIGNED, "--server", server.url, "--ca", server.world.ca, "--product", "blink"),
            *("--token-file", project.outside / "token", "--version", version, *options),
            *("--channel", project.lines["custom_otaseal_channel"]),
        )

    image = project.folder / f".pio/build/{ENVIRONMENT}/littlefs.bin"
    first = deploy("2.0.0", "--filesystem", image, "--layout", "4m1m").succeeded()
    assert "rehearsed on a virtual ESP8266" in first.out
    assert "not rehearsed" not in first.out
    project.build(project.key, seed=2)
    assert "the authority 'certificate.pem' stood for what devices trust" in deploy("2.1.0").succeeded().out
    project.build(project.key, seed=3)
    broken = tmp_path / "broken.bin"
    broken.write_bytes(bytes(1024))
    refused = deploy("2.2.0", "--filesystem", broken, "--layout", "4m1m")
    assert refused.code == 1
    assert "otaseal: error: the rehearsal fails at 'filesystem'" in refused.err
    deploy("2.2.0", "--no-rehearse").succeeded()
    log = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    kept = [(one["version"], one["rehearsal"]) for one in log if one.get("rehearsal")]
    assert kept == [("2.0.0", "passed"), ("2.1.0", "partly"), ("2.2.0", "skipped")]


def test_the_report_for_people_says_what_changes(
    rehearse: Command, project: BuiltProject, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    before, report = tmp_path / "before.signed", tmp_path / "report.md"
    before.write_bytes((project.folder / SIGNED).read_bytes())
    project.build(project.key, seed=2, code_size=20_016)
    rehearse("--offline", "--summary", report, "--compare", before).succeeded()
    text = report.read_text()
    assert text.startswith("### ✅ blink 1.0.0 on ESP8266: devices would take this update\n")
    assert re.search(r"\| image \| 2\d,\d{3} bytes \| 2\d,\d{3} bytes \| \+\d+ bytes \|", text)
    assert re.search(r"\| patch \|  \| [\d,]+ bytes \| [\d.e+]+ % of the image, devices make this build of it \|", text)
    assert "| ✅ | whole image | taken, and started |\n" in text
    project.build(other_rsa_key, seed=3)
    assert rehearse("--offline", "--summary", report, "--from", before).code == 1
    text = report.read_text()
    assert "devices would **not** take this update" in text
    assert re.search(r"13 steps, failed at \*[a-z\\-]+\*: ", text)
    assert "What to do: " in text
    assert "| ❌ | whole image | fails at *" in text


def test_the_report_takes_nothing_for_markup_that_others_have_written() -> None:
    step = Step("signature", "a <b> | c", ok=False, reason="`x` [y](z)\n# no")
    origin = Origin("blink", "<img src=x>|1", "2026-01-31T12:00:00Z", "d1`mini")
    text = markdown.summary(origin, Report((Phase("one", (step,)),)), [Row("core", "*a*", "@b")], ["abc #1 <script>"])
    for markup in ("<img", "<b>", "<script", " # no", "`x`", "[y](z)", "*a*", " @b", " #1"):
        assert markup not in text
    assert "| core | \\*a\\* | \\@b |" in text
