"""`pio run -t deploy` on the real PlatformIO, to a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client import release_log
from otaseal.release import provenance
from otaseal.release import release_log as release_log_format
from support.hooks import ALL_HOOKS, SELF_UPDATING, deploys_to, opt_in, write_key
from support.pio import Project
from support.servers import Running, get, operator, talk

pytestmark = pytest.mark.build
BUILDER = "https://ci.example.com/blink"

MakeProject = Callable[..., Project]


def served(server: Running) -> bytes:
    return talk(server.world.context(), server.port, get("/firmware.bin.signed")).body


def test_deploy_publishes_what_was_built(
    project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        *deploys_to(server, tmp_path),
    ]
    made = project(*lines, "custom_otaseal_version = 1.0.0", sources={"main.cpp": SELF_UPDATING})
    run = made.run("-t", "deploy")
    assert "channel 'stable': nothing -> 1.0.0, for every device" in run.stdout
    assert served(server) == made.build("firmware.bin.signed").read_bytes()
    assert server.token not in run.output
    assert "deploy" in made.run("--list-targets").stdout

    operator(server).set_notes("blink", "1.0.0", {"severity": "fix", "notes": "Brighter."})
    made.write("src/main.cpp", SELF_UPDATING.replace("8080", "8081"))
    older = made.run("-t", "deploy", check=False)
    assert "exists already" in older.stderr
    assert "otaseal: release  1.0.0  [fix]\notaseal:   | Brighter." in older.stdout
    lines += ["custom_otaseal_version = 1.1.0", "custom_otaseal_channel = beta", "custom_otaseal_provenance = yes"]
    lines.append("custom_otaseal_log = yes")
    made.configure(lines)
    before = served(server)
    unnamed = made.run("-t", "deploy", env={"GITHUB_WORKFLOW_REF": ""}, check=False)
    assert "nothing says who builds" in unnamed.stderr
    made.configure([*lines, f"custom_otaseal_builder = {BUILDER}", "custom_otaseal_rollout = rollout.toml"])
    made.write("rollout.toml", '[[wave]]\ntags = "ours"\nsoak = "1d"\n[[wave]]\npercent = 100\n')
    planned = made.run("-t", "deploy").stdout
    assert "channel 'beta': nothing -> 1.1.0, for the first of 2 waves" in planned
    assert planned.index("otaseal: wave 1: 0 devices: tag ours") < planned.index("publishing blink 1.1.0")
    assert served(server) == before
    envelope = operator(server).fetch("/v1/products/blink/releases/1.1.0/attachments/provenance")
    assert envelope is not None
    (entry,) = release_log.entries(operator(server), "blink")
    said = release_log_format.parse(entry)
    assert (said.version, list(said.attached)) == ("1.1.0", ["provenance"])
    built = provenance.verify(envelope, [rsa_key.public_key()])
    provenance.check(built, [made.build("firmware.bin.signed").read_bytes()], [BUILDER])


def test_an_old_binary_is_not_published_under_a_new_version(
    project: MakeProject, tmp_path: Path, server: Running, flash: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """With a filesystem target, and with `nobuild`, PlatformIO builds no firmware: the one there is an earlier one."""
    lines = [
        *opt_in(*ALL_HOOKS),
        "board_build.filesystem = littlefs",
        write_key(tmp_path / "signing.key", rsa_key),
        *deploys_to(server, tmp_path),
        f"upload_port = {flash}",
    ]
    made = project(*lines, sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", server.world.ca.read_text())
    made.run("-t", "deploy", env={"OTASEAL_VERSION": "1.0.0"})
    before = served(server)
    made.write("src/main.cpp", SELF_UPDATING.replace("8080", "8081"))
    newer = {"OTASEAL_VERSION": "1.1.0"}
    pairs = (("buildfs", "deploy"), ("uploadfs", "deploy"), ("buildfs", "rehearse"), ("buildfs", "uploadall"))
    for image, user in (*pairs, ("buildfs", "upload")):
        refused = made.run("-t", image, "-t", user, env=newer, check=False)
        assert f"'-t {image}' and '-t {user}' in one run: it makes the filesystem and no firmware" in refused.stderr
        assert not flash.exists(), "nothing was written"
    said = "the manifest is for version '1.0.0', and the release is called '1.1.0'"
    for user in ("deploy", "rehearse"):
        refused = made.run("-t", "nobuild", "-t", user, env=newer, check=False)
        assert said in refused.output
    assert served(server) == before
    made.run("-t", "buildfs", env=newer)
    assert "channel 'stable': 1.0.0 -> 1.1.0" in made.run("-t", "deploy", env=newer).stdout
    assert served(server) == made.build("firmware.bin.signed").read_bytes() != before


def test_certificates_are_published_as_the_next_filesystem_would_have_them(
    project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [
        *opt_in("pack_certs", "ship"),
        "board_build.filesystem = littlefs",
        write_key(tmp_path / "signing.key", rsa_key),
        *deploys_to(server, tmp_path),
    ]
    made = project(*lines)
    made.write("certs/today.pem", server.world.ca.read_text())
    done = made.run("-t", "deploycerts").stdout
    assert "gives out 1 CA certificate," in done
    assert "not rehearsed: the devices: no firmware with the OtaSeal library is known here" in done
    body = talk(server.world.context(), server.port, get("/certs.ar.signed")).body
    made.run("-t", "buildfs")
    assert body.startswith((made.path / "data" / "certs.ar").read_bytes())
    made.write("certs/today.pem", (server.world.pki.directory / "server-ca-next" / "certificate.pem").read_text())
    refused = made.run("-t", "deploycerts", check=False)
    assert "would not accept this server" in refused.stderr
    assert talk(server.world.context(), server.port, get("/certs.ar.signed")).body == body
    made.write("certs/today.pem", server.world.ca.read_text())
    assert "rehearsed" not in made.run("-t", "deploycerts", env={"OTASEAL_REHEARSE": "no"}).stdout
    log = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    assert [one["rehearsal"] for one in log if one["event"] == "certs"] == ["partly", "skipped"]


def test_what_is_missing_is_named(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    made = project(*opt_in("ship"))
    assert "no update server is named" in made.run("-t", "deploy", check=False).stderr
    made.configure([*opt_in("ship"), "custom_otaseal_server = https://localhost:1", "custom_otaseal_version = 1"])
    assert "custom_otaseal_product is not set" in made.run("-t", "deploy", check=False).stderr
    named = ["custom_otaseal_server = https://localhost:1", "custom_otaseal_product = blink"]
    made.configure([*opt_in("ship"), *named])
    assert "there is no 'firmware.bin.signed'" in made.run("-t", "deploy", check=False).stderr
    signing = write_key(tmp_path / "signing.key", rsa_key)
    made.configure([*opt_in("sign_firmware", "ship"), *named, "custom_otaseal_version = 1", signing])
    assert "cannot be reached" in made.run("-t", "deploy", check=False).stderr
