"""`otaseal init` in a project, and then the real `pio run`: signed, provisioned, and trusted by openssl."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otaseal.certs.ar import device_view
from otaseal.image import manifest, signed_image
from otaseal.keys.public import load_public_key
from otaseal.pki.store import Slot, Store
from support.command import TOOLS, Result, process
from support.enrolling import MAC, SerialDevice
from support.filesystem import read_file
from support.hooks import SELF_UPDATING
from support.pio import RUN_SECONDS, Project, core_dir

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
FS_START, FS_END = 0x300000, 0x3FA000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def init(made: Project, home: Path, *arguments: str) -> Result:
    # The configuration's variable is emptied, not left to whoever runs the tests.
    return process("init", *arguments, cwd=made.path, HOME=str(home), XDG_CONFIG_HOME="")


@pytest.mark.parametrize("locked", [False, True])
def test_init_then_uploadall(locked: bool, project: MakeProject, home: Path, flash: Path, tmp_path: Path) -> None:
    made = project(
        "extra_scripts = mine.py ; what was there before", f"upload_port = {flash}", sources={"main.cpp": SELF_UPDATING}
    )
    made.write("mine.py", "print('my own script ran')\n")
    made.environment |= {"HOME": str(home)}
    (home / "secret").write_text("correct horse\n")
    unlock = ("--passphrase-file", str(home / "secret")) if locked else ("--no-passphrase",)
    init(made, home, "--server-name", "192.0.2.7", "--product", "lamp", *unlock).succeeded()

    run = made.run()
    assert "my own script ran" in run.stdout
    key = load_public_key((home / ".config/otaseal/keys/lamp/signing.pub").read_bytes(), "key")
    payload = signed_image.verify(made.build("firmware.bin.signed").read_bytes(), key)
    assert payload.startswith(made.build("firmware.bin").read_bytes())
    said = manifest.find(payload)
    assert said is not None
    assert said.is_for("lamp", "nodemcuv2")
    made.run("-t", "uploadall")
    content = flash.read_bytes()
    assert content.startswith(made.build("firmware.bin").read_bytes())
    shipped = read_file(content[FS_START:FS_END], "certs.ar")
    store = Store(home / ".config/otaseal/pki/lamp", "lamp")
    roots = {store.certificate(slot).der for slot in (Slot.SERVER, Slot.SERVER_NEXT)}
    assert {member.data for member in device_view(shipped).indexed} == roots

    (tmp_path / "certs.ar").write_bytes(shipped)
    chain = store.directory / "issued/server/main/chain.pem"
    process("pki", "check", chain, "--ca", tmp_path / "certs.ar", cwd=tmp_path).succeeded()
    before = (made.path / "platformio.ini").read_bytes()
    assert "made" not in init(made, home).succeeded().out
    assert (made.path / "platformio.ini").read_bytes() == before
    assert "Signing" not in made.run().stdout


IN_A_NETWORK_OF_ITS_OWN = ("unshare", "--map-root-user", "--net")
LOOPBACK_UP = """\
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
"""
SCRIPT = """\
set -eu
{before}
{commands[0]}
{commands[1]}
{commands[2]}
{commands[3]} > "$HOME/server.out" 2> "$HOME/server.log" &
server=$!
trap 'kill "$server"; wait "$server" || true' EXIT
for _ in $(seq 600); do grep -q serving "$HOME/server.out" && break; kill -0 "$server"; sleep 0.1; done
{commands[4]}
{python} -m otaseal releases --project .
pio run -t deploycerts
{commands[5]} --upload-port {port}
"""


def commands_of(text: str) -> list[str]:
    """Return the commands that init printed, as a person copies them: a purpose a line, and what is indented below."""
    found: list[str] = []
    for line in text[text.index("\nnext:\n") :].splitlines()[2:]:
        if line.startswith("    "):
            found[-1] += line + "\n"
        else:
            found.append("")
    return [one.rstrip("\n") for one in found]


def alone() -> list[str]:
    """Return what gives a command a network of its own, where the system lets us: the ports are those of init."""
    done = subprocess.run([*IN_A_NETWORK_OF_ITS_OWN, "true"], capture_output=True, check=False)
    return list(IN_A_NETWORK_OF_ITS_OWN) if done.returncode == 0 else []


@pytest.mark.proof
def test_the_printed_commands_run_as_printed(project: MakeProject, home: Path, flash: Path, tmp_path: Path) -> None:
    """In a folder whose name no product can have, without git, the server included; on the loopback interface."""
    made = project(f"upload_port = {flash}", name="Blink Näher 2", sources={"main.cpp": SELF_UPDATING})
    made.core = core_dir(tmp_path)  # one that starts from nothing: what starts warm is in the network of all
    done = process(
        *("init", "--project", made.path, "--server-name", "update.local", "--no-passphrase"),
        cwd=tmp_path, HOME=str(home), XDG_CONFIG_HOME="",
    ).succeeded()  # fmt: skip
    commands = commands_of(done.out)
    assert len(commands) == 6
    network = alone()
    before = f"{sys.executable} -c '{LOOPBACK_UP}'" if network else ":"
    if not network:
        commands[3] = commands[3].replace("0.0.0.0", "127.0.0.1")
    device = SerialDevice()
    python = f"PYTHONPATH={TOOLS} {sys.executable}"
    script = SCRIPT.format(before=before, commands=commands, python=python, port=device.port)
    programs = os.pathsep.join([str(Path(sys.executable).parent), made.environment_of_runs()["PATH"]])
    git_elsewhere = {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    variables = {**made.environment_of_runs(), "PATH": programs, "HOME": str(home), "XDG_CONFIG_HOME": ""}
    with device:
        ran = subprocess.run(
            [*network, "bash", "-c", script],
            cwd=tmp_path,
            env={**variables, **git_elsewhere},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    log = (home / "server.log").read_text() if (home / "server.log").exists() else ""
    assert ran.returncode == 0, ran.stdout + ran.stderr + log
    assert "channel 'stable': nothing -> 0.1.0, for every device" in ran.stdout
    assert "channel  stable: 0.1.0\n" in ran.stdout
    assert "gives out 2 CA certificates" in ran.stdout
    assert f"enrolled {MAC}\notaseal:   its key is registered at " in ran.stdout
    assert device.certificate is not None
    assert flash.read_bytes().startswith(made.build("firmware.bin").read_bytes())
    assert "Traceback" not in ran.stderr + log


def test_git_sees_no_key_and_no_build_product(project: MakeProject, home: Path, flash: Path) -> None:
    made = project(sources={"main.cpp": SELF_UPDATING})
    made.environment |= {"HOME": str(home)}
    init(made, home, "--server-name", "update.local", "--no-passphrase").succeeded()
    made.run("-t", "uploadall", "--upload-port", str(flash))
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (("init", "-q"), ("add", ".")):
        subprocess.run(["git", *command], cwd=made.path, env=git, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=made.path, env=git, check=True, capture_output=True, text=True)
    names = listed.stdout.splitlines()
    assert {Path(name).parts[0] for name in names} == {".gitignore", "certs", "platformio.ini", "src"}
    assert not [name for name in names if b"PRIVATE KEY" in (made.path / name).read_bytes()]
