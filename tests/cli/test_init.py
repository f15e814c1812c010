"""`otaseal init`: everything made once, nothing touched twice, no key in the project, and it goes on after a kill."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support import peers
from support.command import TOOLS, Command, otaseal, process
from support.fresh_project import INI, NAMES, OPEN, blink, config, home, tree

__all__ = ["blink", "home", "otaseal"]


MAX_ROUNDS = 100


KILLED_AGAIN_AND_AGAIN = """\
import os, signal, sys
from pathlib import Path
import cryptography.x509, cryptography.hazmat.primitives.asymmetric.rsa
from otaseal import cli

def die_at_second_name(event, arguments, seen=[]):
    if event in ("os.link", "os.rename"):
        seen.append(event)
        if len(seen) > 1:
            os.kill(os.getpid(), signal.SIGKILL)

def keys():
    paths = [path for path in Path.home().rglob("*") if path.suffix in (".key", ".pub") or path.name == "key.pem"]
    return {path: path.read_bytes() for path in paths}

finished = {}
for kills in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        sys.addaudithook(die_at_second_name)
        os._exit(cli.main(sys.argv[2:]))
    status = os.waitpid(child, 0)[1]
    assert finished.items() <= keys().items(), "a finished key was replaced"
    finished = keys()
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status) or (kills < 15))
sys.exit("it never ended")
"""


def test_everything_is_made_and_named(blink: Path, home: Path, otaseal: Command) -> None:
    done = otaseal(*OPEN).succeeded()
    store = config(home) / "pki" / "blink"
    made = tree(config(home))
    assert {"keys/blink/signing.key", "keys/blink/signing.pub"} <= set(made)
    for authority in ("server-ca", "server-ca-next", "device-ca", "operator-ca", "issued/server/main"):
        assert f"pki/blink/{authority}/key.pem" in made
    assert {path.name for path in (store / "issued" / "operator").iterdir()}
    for path in config(home).rglob("*"):
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    roots = [path.read_bytes() for path in (blink / "certs").iterdir()]
    packed = {(store / slot / "certificate.pem").read_bytes() for slot in ("server-ca", "server-ca-next")}
    assert (set(roots), len(roots)) == (packed, 2)
    assert not [name for name, data in tree(blink).items() if data and b"PRIVATE KEY" in data]

    ini = (blink / "platformio.ini").read_text()
    assert ini.startswith(INI)
    for line in (
        "board_build.filesystem = littlefs",
        "custom_otaseal_signing_key = file:~/.config/otaseal/keys/blink/signing.key",
        "custom_otaseal_ca_certs = certs",
        "custom_otaseal_product = blink",
        "custom_otaseal_version = 0.1.0",
        "custom_otaseal_server = https://localhost:8444",
        "custom_otaseal_server_ca = ~/.config/otaseal/pki/blink/server-ca/certificate.pem",
        "/extra_scripts/ship.py",
    ):
        assert line in ini
        assert f"+{line}\n" in done.out or line in done.out
    assert (blink / ".gitignore").read_text() == ".pio/\n*.key\ndata/certs.ar\n"
    last = done.out[done.out.index("next:") :]
    assert "pio run\n" in last
    assert "pio run -t uploadall\n" in last
    assert " serve \\\n      --listen" in last
    assert "--cert ~/.config/otaseal/pki/blink/issued/server/main/chain.pem" in last
    assert "--product blink=~/.config/otaseal/keys/blink/signing.pub" in last
    assert "pio run -t deploy\n" in last


def test_a_pico_gets_a_filesystem_with_room(blink: Path, otaseal: Command) -> None:
    """Each environment gets what its platform calls it; a size that a project has chosen stays."""
    pico = "[env:{}]\nplatform = https://github.com/maxgerhardt/platform-raspberrypi.git\nboard = rpipico2w\n"
    chosen = pico.format("large") + "board_build.filesystem_size = 2m\n"
    (blink / "platformio.ini").write_text(INI + pico.format("pico") + chosen)
    otaseal(*OPEN, "-e", "nodemcuv2", "-e", "pico", "-e", "large").succeeded()
    esp, small, large = (blink / "platformio.ini").read_text().split("[env:")[1:]
    assert "board_build.filesystem = littlefs" in esp
    assert "filesystem_size" not in esp
    assert "board_build.filesystem_size = 1m" in small
    assert large.count("filesystem_size") == 1
    for section in (small, large):
        assert "board_build.filesystem = " not in section
        assert "/extra_scripts/verify_updates.py" in section


def test_an_esp32_gets_littlefs_and_is_told_of_a_missing_slot(blink: Path, otaseal: Command) -> None:
    """The platforms' defaults differ, so that both get the line; a table with one slot takes no update."""
    pioarduino = (
        "https://github.com/pioarduino/platform-espressif32/releases/download/55.03.311/platform-espressif32.zip"
    )
    environment = "[env:{}]\nplatform = {}\nboard = {}\nframework = arduino\n"
    official = environment.format("official", "espressif32", "esp32dev") + "board_build.partitions = huge_app.csv\n"
    newer = environment.format("newer", pioarduino, "esp32-c3-devkitm-1")
    camera = environment.format("camera", "espressif32", "esp32cam") + "board_build.filesystem = spiffs\n"
    (blink / "platformio.ini").write_text(official + newer + camera)
    done = otaseal(*OPEN, "-e", "official", "-e", "newer", "-e", "camera").succeeded()
    sections = (blink / "platformio.ini").read_text().split("[env:")[1:]
    assert ["board_build.filesystem = littlefs" in section for section in sections] == [True, True, False]
    assert all("/extra_scripts/verify_updates.py" in section for section in sections)
    notes = [line for line in done.err.splitlines() if "no update over the air" in line]
    assert [line.split(": ")[2] for line in notes] == [
        "'official' can take no update over the air",
        "'camera' can take no update over the air",
    ]
    assert "'huge_app.csv' has one slot for firmware" in notes[0]
    assert "set board_build.partitions to a table with two, as min_spiffs.csv, and write it by cable" in notes[0]
    assert "board_build.filesystem of 'camera' is 'spiffs', and the device's example mounts littlefs" in done.err


def test_openssl_and_the_device_accept_what_was_made(blink: Path, home: Path, otaseal: Command) -> None:
    otaseal(*OPEN).succeeded()
    issued = config(home) / "pki" / "blink" / "issued" / "server" / "main"
    (blink / "ca.pem").write_bytes(b"".join(path.read_bytes() for path in (blink / "certs").iterdir()))
    for check in (("-verify_ip", "192.0.2.7"), ("-verify_hostname", "update.local")):
        command = [peers.tool("openssl", "openssl"), "verify", "-x509_strict", "-purpose", "sslserver", *check]
        command += ["-CAfile", "ca.pem", str(issued / "chain.pem")]
        subprocess.run(command, check=True, capture_output=True)
    otaseal("certs", "check", "certs").succeeded()
    otaseal("pki", "check", issued / "chain.pem", "--ca", "certs").succeeded()
    otaseal("pki", "check").succeeded()


def test_a_second_run_changes_nothing_and_asks_nothing(blink: Path, otaseal: Command, tmp_path: Path) -> None:
    otaseal(*OPEN).succeeded()
    before = tree(tmp_path)
    for again in (OPEN, ("init",), ("init", "--dry-run")):
        done = otaseal(*again).succeeded()
        assert tree(tmp_path) == before
        states = {line.split()[0] for line in done.out.splitlines()[:7]}
        assert states == {"kept"}, done.out
    shown = otaseal("init", "--json").succeeded().json
    assert {step["state"] for step in shown["steps"]} == {"kept"}
    assert (shown["product"], shown["environments"], shown["changed"], shown["lines_to_add"]) == (
        "blink",
        ["nodemcuv2"],
        {},
        [],
    )


def test_a_dry_run_makes_nothing(blink: Path, otaseal: Command, tmp_path: Path) -> None:
    before = tree(tmp_path)
    done = otaseal("init", *NAMES, "--dry-run").succeeded()
    assert tree(tmp_path) == before
    assert "would make signing key" in done.out
    assert "+board_build.filesystem = littlefs" in done.out


def test_locked_by_one_passphrase_which_the_build_finds(
    blink: Path, home: Path, otaseal: Command, tmp_path: Path
) -> None:
    (home / "secret").write_text("correct horse\n")
    otaseal("init", *NAMES, "--passphrase-file", "~/secret").succeeded()
    assert "custom_otaseal_passphrase_file = ~/secret" in (blink / "platformio.ini").read_text()
    made = config(home)
    for path in (made / "keys/blink/signing.key", made / "pki/blink/server-ca/key.pem"):
        command = [peers.tool("openssl", "openssl"), "pkey", "-in", str(path), "-noout", "-passin"]
        assert subprocess.run([*command, "pass:correct horse"], check=False, capture_output=True).returncode == 0
        assert subprocess.run([*command, "pass:wrong"], check=False, capture_output=True).returncode != 0
    before = tree(tmp_path)
    otaseal("init").succeeded()
    assert tree(tmp_path) == before

    (made / "pki/blink/operator-ca/certificate.pem").unlink()
    (home / "wrong").write_text("wrong\n")
    otaseal("init", "--passphrase-file", "~/wrong").failed(1, "cannot be unlocked")
    otaseal("init", "--passphrase-file", "~/secret").succeeded()


def test_a_configuration_directory_inside_the_project_is_refused(
    blink: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blink / "config"))
    otaseal(*OPEN).failed(1, "inside the project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blink.parent / "elsewhere"))
    otaseal(*OPEN).succeeded()
    assert f"file:{blink.parent}/elsewhere/otaseal/keys/blink/signing.key" in (blink / "platformio.ini").read_text()


def test_authorities_under_an_older_name_are_found_again(blink: Path, home: Path, otaseal: Command) -> None:
    otaseal(*OPEN).succeeded()
    for kind in ("pki", "keys"):
        (config(home) / kind / "blink").rename(config(home) / kind / "Blink")
    ini = blink / "platformio.ini"
    ini.write_text(ini.read_text().replace("/otaseal/keys/blink/", "/otaseal/keys/Blink/"))
    done = otaseal("init").succeeded()
    assert "made" not in done.out
    assert "/pki/Blink/issued/server/main/chain.pem" in done.out
    otaseal("pki", "list", "--product", "blink").succeeded()


@pytest.mark.proof
def test_killed_at_any_moment_it_goes_on(blink: Path, home: Path, otaseal: Command) -> None:
    """Each run gets one file further, and then a SIGKILL; no key that was finished is ever made again."""
    command = [sys.executable, "-c", KILLED_AGAIN_AND_AGAIN, str(MAX_ROUNDS), *OPEN, "--operator", "me"]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(TOOLS)}
    done = subprocess.run(command, cwd=blink, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert process("init", "--operator", "me", cwd=blink, HOME=str(home)).succeeded().out.count("kept") == 7
    assert len(list((blink / "certs").glob("*.pem"))) == 2
    otaseal("pki", "check").succeeded()
    assert not [name for name in tree(config(home)) if name.endswith(".tmp")]
