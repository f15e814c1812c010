"""`otaseal init`: everything made once, nothing touched twice, no key in the project, and it goes on after a kill."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from otaseal.keys import signers
from support import peers
from support.command import TOOLS, Command, otaseal, process
from support.terminal import Terminal

__all__ = ["otaseal"]

INI = "; my project\n[env:nodemcuv2]\nplatform = espressif8266\nboard = nodemcuv2  ; mine\nframework = arduino\n"
NAMES = ("--server-name", "192.0.2.7", "--server-name", "update.local")
OPEN = ("init", *NAMES, "--no-passphrase")
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


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder`: files with their content."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory beside the project, empty."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def blink(tmp_path: Path, otaseal: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and the current directory in it."""
    (tmp_path / "blink").mkdir()
    (tmp_path / "blink" / "platformio.ini").write_text(INI)
    monkeypatch.chdir(tmp_path / "blink")
    return tmp_path / "blink"


def config(home: Path) -> Path:
    return home / ".config" / "otaseal"


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


def test_nobody_to_ask(blink: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path / "home")}
    before = tree(tmp_path)
    process("init", "--no-passphrase", cwd=blink, **environment).failed(2, "no name or address of the update server")
    process("init", *NAMES, cwd=blink, **environment).failed(2, "no passphrase is given for the keys of 'blink'")
    assert tree(tmp_path) == before


def test_what_is_needed_is_asked_at_a_terminal(tmp_path: Path, blink: Path, home: Path) -> None:
    (blink / "platformio.ini").write_text(INI + "[env:native]\nplatform = native\n")
    command = [sys.executable, "-m", "otaseal", "init", "--project", str(blink)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "HOME": str(home)}) as terminal:
        terminal.expect("which of the environments nodemcuv2, native to set up, separated by spaces: ")
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
    assert (blink / "platformio.ini").read_text().endswith("[env:native]\nplatform = native\n")


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


def test_a_configuration_directory_inside_the_project_is_refused(
    blink: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blink / "config"))
    otaseal(*OPEN).failed(1, "inside the project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blink.parent / "elsewhere"))
    otaseal(*OPEN).succeeded()
    assert f"file:{blink.parent}/elsewhere/otaseal/keys/blink/signing.key" in (blink / "platformio.ini").read_text()


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


def test_several_environments_have_to_be_chosen_from(blink: Path, otaseal: Command) -> None:
    (blink / "platformio.ini").write_text(INI + "[env:d1]\nboard = d1\n")
    otaseal(*OPEN).failed(2, "several environments")
    done = otaseal(*OPEN, "--env", "d1", "--env", "nodemcuv2").succeeded()
    assert (blink / "platformio.ini").read_text().count("custom_otaseal_ca_certs") == 2
    assert "pio run -e d1 -e nodemcuv2 -t uploadall" in done.out


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


def test_what_the_project_says_already_stays(blink: Path, otaseal: Command) -> None:
    (blink / ".gitignore").write_bytes(b"/.pio\r\n\xff\n*.key")
    lines = "board_build.filesystem = spiffs\ncustom_otaseal_ca_certs =\n  my cas\n  more/*.pem\n"
    (blink / "platformio.ini").write_text(INI + lines)
    (blink / "platformio.ini").chmod(0o640)
    done = otaseal(*OPEN).succeeded()
    assert (blink / ".gitignore").read_bytes() == b"/.pio\r\n\xff\n*.key\ndata/certs.ar\n"
    assert (blink / "platformio.ini").read_text().startswith(INI + lines)
    assert stat.S_IMODE((blink / "platformio.ini").stat().st_mode) == 0o640
    assert len(list((blink / "my cas").iterdir())) == 2
    assert "is 'spiffs'" in done.err
    assert "is not for 'new.local'" in otaseal("init", "--server-name", "new.local").succeeded().err


def test_lines_that_cannot_be_added_are_shown(blink: Path, home: Path, otaseal: Command) -> None:
    text = INI + "[platformio]\nextra_configs = more.ini\n"
    (blink / "platformio.ini").write_text(text)
    done = otaseal(*OPEN).failed(1, "cannot be edited safely: it reads more files")
    assert (blink / "platformio.ini").read_text() == text
    assert "  custom_otaseal_ca_certs = certs\n" in done.out
    assert (config(home) / "keys/blink/signing.key").exists()
    lines = otaseal("init", "--json").failed(1, "safely").json["lines_to_add"]
    (blink / "platformio.ini").write_text(INI + "\n".join(lines) + "\n[platformio]\nextra_configs = more.ini\n")
    otaseal("init").succeeded()


def ini_after(project: Path, home: Path, text: str = INI, tools: Path = TOOLS) -> tuple[str, str]:
    """Run init on a platformio.ini with this text; return what it became, and the notes."""
    (project / "platformio.ini").write_text(text)
    done = process(*OPEN, cwd=project, HOME=str(home), PYTHONPATH=str(tools)).succeeded()
    return (project / "platformio.ini").read_text(), done.err


def test_hooks_are_named_so_that_others_find_them(blink: Path, tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "otaseal"
    copy.mkdir()
    for part in ("tools", "extra_scripts"):
        subprocess.run(["cp", "-r", str(TOOLS.parent / part), str(copy)], check=True)
    library = "pre:$PROJECT_LIBDEPS_DIR/$PIOENV/otaseal/extra_scripts/verify_updates.py"
    for place, expected in (
        ("vendor/otaseal", "pre:vendor/otaseal/extra_scripts/verify_updates.py"),
        (".pio/libdeps/nodemcuv2/otaseal", library),
        ("otaseal", "pre:otaseal/extra_scripts/verify_updates.py"),
        ("signed-updates", "pre:signed-updates/extra_scripts/verify_updates.py"),
    ):
        (blink / place).parent.mkdir(parents=True, exist_ok=True)
        copy.rename(blink / place)
        for tools in (blink / place / "tools", TOOLS):  # run from there, or from an installation elsewhere
            text, notes = ini_after(blink, home, tools=tools)
            assert f"  {expected}\n" in text
            assert "git submodule" not in text + notes
        (blink / place).rename(copy)
    for named in ("otaseal", "ada/otaseal @ ^0.1", "https://example.org/ada/otaseal.git#v1", "file:///srv/otaseal"):
        text, _ = ini_after(blink, home, f"{INI}lib_deps =\n  Servo\n  {named}\n")
        assert f"  {library}\n" in text


def test_hooks_that_nobody_else_has_are_said_to_be(blink: Path, home: Path) -> None:
    for text in (INI, f"{INI}lib_deps = symlink:///srv/otaseal\n", f"{INI}extra_scripts = a.py, post:b.py\n"):
        changed, notes = ini_after(blink, home, text)
        assert f"{TOOLS.parent}/extra_scripts/verify_updates.py" in changed
        assert changed.count("\n; otaseal is installed on this computer only: before others build this, add it") == 1
        assert "git submodule" in notes
    again = process("init", cwd=blink, HOME=str(home)).succeeded()
    assert (blink / "platformio.ini").read_text() == changed
    assert "git submodule" not in again.err


def test_a_server_that_the_project_names_is_kept(blink: Path, home: Path, otaseal: Command) -> None:
    ini = blink / "platformio.ini"
    ini.write_text(f"{INI}custom_otaseal_server = https://update.example.org:8444\n")
    done = otaseal(*OPEN).succeeded()
    assert not [line for line in ini.read_text().splitlines() if "_operator_" in line or "_server_ca" in line]
    assert "--operator-ca" not in done.out
    assert "pio run -t deploy" in done.out
    ini.write_text(f"{INI}custom_otaseal_token_file = ~/token\n")
    otaseal("init").succeeded()
    assert "custom_otaseal_server_ca" in ini.read_text()
    assert "_operator_" not in ini.read_text()


def test_a_version_is_written_only_where_git_says_none(blink: Path, otaseal: Command) -> None:
    assert "git knows no version" in otaseal(*OPEN).succeeded().err
    assert "custom_otaseal_version = 0.1.0\n" in (blink / "platformio.ini").read_text()
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "platformio.ini"), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *command], cwd=blink, env=git, check=True)
    (blink / "platformio.ini").write_text(INI)
    assert "git knows no version" not in otaseal("init").succeeded().err
    assert "custom_otaseal_version" not in (blink / "platformio.ini").read_text()


def test_a_key_without_a_file_of_its_public_half_gets_one_by_a_command(
    blink: Path, home: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signers.write_key_pair(home / "my key", signers.new_signing_key(), None)
    (home / "my key.pub").unlink()
    (blink / "platformio.ini").write_text(f"{INI}custom_otaseal_signing_key = file:~/my key\n")
    done = otaseal(*OPEN).succeeded()
    assert f" key show '{home}/my key' --pem > signing.pub\n" in done.out
    assert "--product blink=signing.pub" in done.out


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
