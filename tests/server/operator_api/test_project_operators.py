"""Operator commands in a project: server, product and credentials of its platformio.ini, and what comes before them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal import files, settings
from otaseal.client import credentials
from otaseal.errors import ConfigError
from otaseal.pki.profile import Role
from support.command import Command, otaseal, process
from support.servers import Running, StartServer, World

__all__ = ["otaseal"]

NOW = datetime.now(timezone.utc)
INI, VARIABLE, FLAG = "custom_otaseal_{}", "OTASEAL_{}", "{}"


@pytest.fixture(scope="module")
def operator(world: World) -> Path:
    """The folder of an operator's certificate."""
    return world.client(Role.OPERATOR, "ada")


@pytest.fixture
def guarded(world: World, start_server: StartServer) -> Running:
    return start_server("--operator-ca", world.pki.directory / "operator-ca" / "certificate.pem")


def write_project(folder: Path, server: Running, lines: Mapping[str, str | Path], more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    said = {"server": server.url, "server_ca": server.world.ca, "product": "blink", **lines}
    text = "".join(f"custom_otaseal_{name} = {value}\n" for name, value in said.items())
    (folder / "platformio.ini").write_text(f"[env:d1]\nplatform = espressif8266\nboard = d1\n{text}{more}")
    return folder


def of_certificate(folder: Path) -> dict[str, Path]:
    return {"operator_cert": folder / "chain.pem", "operator_key": folder / "key.pem"}


def test_both_kinds_of_credential_from_the_file(guarded: Running, operator: Path, tmp_path: Path) -> None:
    files.write_new(tmp_path / "token", f"{guarded.token}\n".encode(), files.PRIVATE_MODE)
    firmware = tmp_path / "firmware.bin.signed"
    for number, lines in enumerate((of_certificate(operator), {"token_file": "../token"})):
        made = write_project(tmp_path / "blink", guarded, {**lines, "version": f"1.{number}", "channel": "beta"})
        firmware.write_bytes(guarded.world.firmware(number).signed)
        done = process("deploy", firmware, cwd=made).succeeded()
        assert f"-> 1.{number}, for every device" in done.out
        assert f"release  1.{number}" in process("releases", cwd=made).succeeded().out
        assert "has no release yet" not in process("releases", cwd=made).out
        assert "no device was seen yet" in process("devices", "--project", made, cwd=tmp_path).succeeded().out
        assert process("promote", "beta", "--to", "stable", cwd=made).succeeded()
    assert "before: 1.1" in process("rollback", cwd=made).succeeded().out, "of the project's channel"
    told = process("rehearse", firmware, "--project", made, "--json", cwd=tmp_path).succeeded().json
    assert f"https://localhost:{guarded.port}/" in str(told["acts"]), "at the live server"


def test_options_and_variables_come_before_the_file(guarded: Running, operator: Path, tmp_path: Path) -> None:
    wrong = {"server": "https://localhost:1", "product": "lamp", "token_file": "nowhere", "server_ca": "nowhere"}
    made = write_project(tmp_path / "blink", guarded, wrong)
    said = ("--server", guarded.url, "--product", "blink", "--ca", os.path.relpath(guarded.world.ca, made))
    pair = ("--cert", operator / "chain.pem", "--cert-key", operator / "key.pem")
    process("releases", *said, *pair, cwd=made).succeeded()
    process("releases", *said, cwd=made, OTASEAL_TOKEN=guarded.token).succeeded()
    process("releases", *said, *pair, cwd=made, OTASEAL_TOKEN="of another server").succeeded()
    process("releases", cwd=made).failed(1, "token file")
    process("releases", *said, *pair[:2], cwd=made).failed(2, "go together")


def test_outside_of_a_project_all_is_as_it_was(guarded: Running, operator: Path, tmp_path: Path) -> None:
    said = ("--server", guarded.url, "--product", "blink", "--ca", guarded.world.ca)
    shown = process("releases", *said, cwd=tmp_path, OTASEAL_TOKEN=guarded.token).succeeded()
    assert shown.out == "product 'blink' has no release yet\n"
    process("releases", *said, "--env", "d1", cwd=tmp_path).failed(2, "--env 'd1' is given, and no project")
    process("releases", *said, "--project", "nowhere", cwd=tmp_path).failed(1, "is not a PlatformIO project")


def test_environments_that_differ_have_to_be_chosen_from(guarded: Running, tmp_path: Path) -> None:
    files.write_new(tmp_path / "token", f"{guarded.token}\n".encode(), files.PRIVATE_MODE)
    second = "[env:lamp]\nextends = env:d1\ncustom_otaseal_product = lamp\n[env:native]\nplatform = native\n"
    made = write_project(tmp_path / "blink", guarded, {"token_file": "../token"}, second)
    process("releases", cwd=made).failed(2, "the environments 'd1', 'lamp' go to another server, product or channel")
    process("releases", "--env", "d1", cwd=made).succeeded()
    process("releases", "-e", "lamp", cwd=made).failed(1, "lamp")
    process("releases", "--product", "blink", cwd=made).succeeded()
    ini = made / "platformio.ini"
    ini.write_text("[platformio]\ndefault_envs = d1, native\n" + ini.read_text())
    process("releases", cwd=made).succeeded()


@pytest.mark.parametrize("strong", ["flags", "environment", "ini"])
def test_credentials_are_those_of_the_strongest_source(strong: str) -> None:
    """A token and a certificate, each in a source of its own: the stronger source decides, whichever kind it has."""
    kinds = {"token": {"token_file": "t"}, "certificate": {"operator_cert": "c", "operator_key": "k"}}
    order = ["flags", "environment", "ini"]
    for kind, other in (("token", "certificate"), ("certificate", "token")):
        for weak in order[order.index(strong) + 1 :]:
            given: dict[str, dict[str, str]] = {name: {} for name in order}
            for place, values in ((strong, kinds[kind]), (weak, kinds[other])):
                spelt = {"flags": "{}", "environment": "OTASEAL_{}", "ini": "custom_otaseal_{}"}[place]
                named = {spelt.format(n.upper() if place == "environment" else n): v for n, v in values.items()}
                given[place] |= named
            found = settings.resolve(given["ini"], given["environment"], given["flags"])
            assert (found.token_file is not None) == (kind == "token")
            assert (found.operator_cert is not None) == (kind == "certificate") == (found.operator_key is not None)


def test_the_token_in_the_environment_is_one_of_its_credentials(tmp_path: Path) -> None:
    pair = {
        "custom_otaseal_operator_cert": "c",
        "custom_otaseal_operator_key": "k",
        "custom_otaseal_server": "https://a",
    }
    secret = {"OTASEAL_TOKEN": "t" * 20}
    found = credentials.connect(settings.resolve(pair, {}), tmp_path, {})
    assert (found.token, found.certificate, found.is_known) == (None, (tmp_path / "c", tmp_path / "k"), True)
    found = credentials.connect(settings.resolve(pair, secret), tmp_path, secret)
    assert (found.token, found.certificate) == ("t" * 20, None)
    flags = {"operator_cert": "c", "operator_key": "k"}
    found = credentials.connect(
        settings.resolve({}, {**secret, "OTASEAL_SERVER": "https://a"}, flags), tmp_path, secret
    )
    assert (found.token, found.certificate) == (None, (tmp_path / "c", tmp_path / "k"))
    assert not credentials.connect(settings.resolve({"custom_otaseal_server": "https://a"}, {}), tmp_path, {}).is_known
    with pytest.raises(ConfigError, match="go together"):
        credentials.connect(settings.resolve({**pair, "custom_otaseal_operator_key": ""}, {}), tmp_path, {})


def test_the_doctor_uses_a_certificate_too(
    guarded: Running, operator: Path, tmp_path: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = write_project(tmp_path / "blink", guarded, of_certificate(operator))
    shown = otaseal("doctor", "--project", made).out
    assert "ok       publishing     the operator's certificate is valid for 'blink'; channel 'stable' has no" in shown
    write_project(made, guarded, {})
    assert "there is no token and no certificate to deploy with" in otaseal("doctor", "--project", made).out
