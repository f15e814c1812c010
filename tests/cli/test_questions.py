"""What `otaseal init` has to know: asked at a terminal, taken from the project, or refused before anything is made."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from otaseal.keys import signers
from support.command import TOOLS, Command, otaseal, process
from support.fresh_project import INI, NAMES, OPEN, blink, config, home, tree
from support.terminal import Terminal

__all__ = ["blink", "home", "otaseal"]


def test_an_answer_that_does_not_come_is_not_the_folders_fault(blink: Path, home: Path) -> None:
    command = [sys.executable, "-m", "otaseal", "init", "--project", str(blink)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "HOME": str(home)}) as terminal:
        terminal.expect("product [blink]: ")
        terminal.send(b"\x04")
        assert "otaseal: error: no product is named" in terminal.rest()
        assert terminal.returncode == 2


def test_nobody_to_ask(blink: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path / "home")}
    before = tree(tmp_path)
    process("init", "--no-passphrase", cwd=blink, **environment).failed(2, "no name or address of the update server")
    process("init", *NAMES, cwd=blink, **environment).failed(2, "no passphrase is given for the keys of 'blink'")
    assert tree(tmp_path) == before


def test_what_is_needed_is_asked_at_a_terminal(tmp_path: Path, blink: Path, home: Path) -> None:
    others = "[env:d1]\nplatform = espressif8266\nboard = d1_mini\n[env:native]\nplatform = native\n"
    (blink / "platformio.ini").write_text(INI + others)
    command = [sys.executable, "-m", "otaseal", "init", "--project", str(blink)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "HOME": str(home)}) as terminal:
        terminal.expect("which of the environments nodemcuv2, d1 to set up, separated by spaces: ")
        terminal.type("nodemcuv2")
        terminal.expect("product [blink]: ")
        terminal.type("lamp")
        terminal.expect("addresses: ")
        terminal.type("update.local, 192.0.2.7")
        for _ in range(2):
            terminal.expect(": ")
            terminal.type("geheim")
        assert "made       signing key" in terminal.rest()
        assert terminal.returncode == 0, terminal.screen
    assert (config(home) / "keys/lamp/signing.key").exists()
    assert b"ENCRYPTED" in (config(home) / "pki/lamp/server-ca/key.pem").read_bytes()
    assert (blink / "platformio.ini").read_text().endswith(others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (NAMES, "no passphrase is given for the keys of 'blink', and --json asks no questions"),
        (("--no-passphrase",), "no name or address of the update server is given"),
    ],
)
def test_who_wants_json_is_asked_nothing_at_a_terminal(
    arguments: tuple[str, ...], message: str, blink: Path, home: Path, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    command = [sys.executable, "-m", "otaseal", "init", "--json", *arguments, "--project", str(blink)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "HOME": str(home), "OTASEAL_PASSPHRASE": ""}) as terminal:
        lines = terminal.rest().splitlines()
        assert terminal.returncode == 2
    assert [json.loads(line)["error"] for line in lines] == [message]
    assert tree(tmp_path) == before


def test_who_wants_json_is_not_asked_for_the_passphrase_of_keys_that_are_there(
    blink: Path, home: Path, otaseal: Command, tmp_path: Path
) -> None:
    (home / "secret").write_text("correct horse\n")
    otaseal("init", *NAMES, "--passphrase-file", "~/secret").succeeded()
    (config(home) / "pki/blink/operator-ca/certificate.pem").unlink()
    before = tree(tmp_path)
    command = [sys.executable, "-m", "otaseal", "init", "--json", "--project", str(blink)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "HOME": str(home), "OTASEAL_PASSPHRASE": ""}) as terminal:
        lines = terminal.rest().splitlines()
        assert terminal.returncode == 2
    assert "--json asks no questions" in json.loads(lines[0])["error"]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--signing-key", "keys/signing.key"), 1, "inside the project"),
        (("--store", "pki"), 1, "inside the project"),
        (("--product", "лампа"), 2, "product 'лампа' is not a valid name"),
        (("--operator", "a b"), 2, "cannot be a holder's name"),
        (("--server-name", "https://update.local"), 2, "neither an address nor a host name"),
        (("--env", "other"), 2, "no environment 'other'"),
        (("--project", "nowhere"), 1, "is not a PlatformIO project"),
        (("--passphrase-file", "x"), 2, "not allowed with"),
    ],
)
def test_refused_before_anything_is_made(
    arguments: tuple[str, ...], code: int, message: str, blink: Path, otaseal: Command, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    otaseal(*OPEN, *arguments).failed(code, message)
    assert tree(tmp_path) == before


def test_a_folder_with_any_name_gives_a_product_which_is_said_once(home: Path, blink: Path, otaseal: Command) -> None:
    folder = blink.rename(blink.with_name("Blink Näher 2"))
    os.chdir(folder)
    done = otaseal(*OPEN).succeeded()
    assert done.err.count("the product is called 'blink-naher-2': 'Blink Näher 2' is not a valid name") == 1
    assert "custom_otaseal_product = blink-naher-2\n" in (folder / "platformio.ini").read_text()
    assert {path.name for path in (config(home) / "pki").iterdir()} == {"blink-naher-2"}
    assert {path.name for path in (config(home) / "keys").iterdir()} == {"blink-naher-2"}
    again = otaseal("init", "--product", "Blink Näher 2").succeeded()
    assert "is not a valid name" not in again.err
    assert "made" not in again.out
    assert "ok       options" in otaseal("doctor", "--offline").out


def test_a_product_with_capitals_is_mended_and_one_that_is_written_already_is_named(
    blink: Path, otaseal: Command, tmp_path: Path
) -> None:
    assert "called 'lamp': 'Lamp'" in otaseal(*OPEN, "--product", "Lamp", "--dry-run").succeeded().err
    (blink / "platformio.ini").write_text(INI + "custom_otaseal_product = Blink\n")
    before = tree(tmp_path)
    assert "as in 'blink'" in otaseal(*OPEN).failed(2, "custom_otaseal_product 'Blink' is not a valid name").err
    assert "custom_otaseal_product 'Blink' is not a valid name" in otaseal("doctor", "--offline").out
    assert tree(tmp_path) == before


def test_a_project_keeps_the_product_that_it_has(blink: Path, otaseal: Command, tmp_path: Path) -> None:
    otaseal(*OPEN).succeeded()
    before, ini = tree(tmp_path), blink / "platformio.ini"
    otaseal(*OPEN, "--product", "blinky").failed(2, "'blinky' is another product than the project's, 'blink'")
    ini.write_text(ini.read_text().replace("_product = blink\n", "_product =\n"))
    otaseal(*OPEN, "--product", "blinky").failed(2, "'blinky' is another product than the project's, 'blink'")
    ini.write_bytes(before["blink/platformio.ini"] or b"")
    assert tree(tmp_path) == before
    ini.write_text(INI + "custom_otaseal_product = blink\n[env:d1]\nboard = d1\ncustom_otaseal_product = lamp\n")
    otaseal(*OPEN, "--env", "d1", "--env", "nodemcuv2").failed(2, "several products: lamp, blink")


def test_several_environments_have_to_be_chosen_from(blink: Path, otaseal: Command) -> None:
    (blink / "platformio.ini").write_text(INI + "[env:d1]\nboard = d1\n")
    otaseal(*OPEN).failed(2, "platformio.ini has several environments: nodemcuv2, d1")
    done = otaseal(*OPEN, "--env", "d1", "--env", "nodemcuv2").succeeded()
    assert (blink / "platformio.ini").read_text().count("custom_otaseal_ca_certs") == 2
    assert "pio run -e d1 -e nodemcuv2\n" in done.out
    assert "pio run -e d1 -t uploadall\n" in done.out
    assert "pio run -e nodemcuv2 -t uploadall\n" in done.out


def test_environments_for_other_chips_are_left_alone(blink: Path, otaseal: Command, tmp_path: Path) -> None:
    """No lines, and no question, for what nothing of otaseal works in; asked for by name they are refused."""
    native = "[env:native]\nplatform = native\n"
    idf = "[env:idf]\nplatform = espressif32\nboard = esp32dev\nframework = espidf\n"
    (blink / "platformio.ini").write_text(INI + native + idf)
    before = tree(tmp_path)
    otaseal(*OPEN, "-e", "native").failed(2, "environment 'native' cannot be set up: its platform is 'native'")
    otaseal(*OPEN, "-e", "idf").failed(2, "environment 'idf' cannot be set up: its framework is 'espidf'")
    assert tree(tmp_path) == before
    otaseal(*OPEN).succeeded()
    assert (blink / "platformio.ini").read_text().endswith(native + idf)
    assert "-e nodemcuv2" in otaseal(*OPEN).out


def test_a_product_is_known_by_its_rotated_key(blink: Path, home: Path, otaseal: Command) -> None:
    otaseal(*OPEN, "--product", "lamp").succeeded()
    ini = blink / "platformio.ini"
    ini.write_text(ini.read_text().replace("/signing.key", "/next.key"))
    signers.write_key_pair(config(home) / "keys/lamp/next.key", signers.new_signing_key(), None)
    assert otaseal("init", "--json").succeeded().json["product"] == "lamp"


def test_a_key_that_the_project_names_is_kept_or_missed(blink: Path, home: Path, otaseal: Command) -> None:
    line = "custom_otaseal_signing_key = file:~/my.key\n"
    (blink / "platformio.ini").write_text(INI + line)
    done = otaseal(*OPEN).failed(1, "my.key', which does not exist")
    assert "devices take updates from that key only" in done.err
    signers.write_key_pair(home / "my.key", signers.new_signing_key(), None)
    done = otaseal(*OPEN, "--signing-key", "~/other.key").succeeded()
    assert "--signing-key is not used" in done.err
    assert not (config(home) / "keys").exists()
    assert (blink / "platformio.ini").read_text().count("custom_otaseal_signing_key") == 1
