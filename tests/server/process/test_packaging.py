"""The service unit and the container's files: what they run is run here, as they run it."""

from __future__ import annotations

import configparser
import json
import os
import re
import resource
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.store.tokens import TokenFile
from support import peers
from support.command import TOOLS
from support.servers import SECONDS, Running, World, get, publish, run, talk
from support.serving import READY

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"
UNIT = PACKAGING / "otaseal.service"
EXECUTABLE = "/opt/otaseal/bin/otaseal"


def unit() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.mark.parametrize("name", ["otaseal.service", "otaseal@.service"])
def test_the_unit_is_one_and_confines(tmp_path: Path, name: str) -> None:
    analyze = peers.tool("systemd-analyze", "systemd")
    path = tmp_path / name
    path.write_text(UNIT.read_text().replace(EXECUTABLE, "/bin/true"))
    verified = run([analyze, "verify", tmp_path / name.replace("@", "@a")])
    assert verified.returncode == 0, verified.stderr
    assert b"otaseal" not in verified.stderr, verified.stderr
    judged = run([analyze, "security", "--offline=true", "--threshold=15", path])
    assert judged.returncode == 0, judged.stdout.decode()[-200:]


def started(command: list[str], environment: dict[str, str], log: Path, limit: int) -> subprocess.Popen[str]:
    """Start what a unit starts, with its limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, before[1]), before[1]))
    try:
        with log.open("w") as errors:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_the_unit_starts_serves_and_ends(world: World, tmp_path: Path) -> None:
    service = unit()
    state, credentials, etc = (tmp_path / name for name in ("state", "credentials", "etc"))
    for folder in (state, credentials, etc):
        folder.mkdir()
    shutil.copy(world.chain, etc / "chain.pem")
    shutil.copy(world.chain.with_name("key.pem"), credentials / "server.key")
    shutil.copy(world.folder / "signing.pub", etc / "blink.pub")
    shutil.copy(PACKAGING / "openssl.cnf", etc / "openssl.cnf")
    options = f"--product blink={etc}/blink.pub --listen 127.0.0.1:0 --operator-listen 127.0.0.1:0"
    options += f" --trusted {world.ca}"
    text = service["ExecStart"].replace("$OTASEAL_SERVE", options).replace("/etc/otaseal", str(etc))
    text = text.replace("${CREDENTIALS_DIRECTORY}", str(credentials))
    set_here = dict(one.split("=", 1) for one in service["Environment"].split())
    assert service["StateDirectory"] == "%N"
    text = text.replace("${OTASEAL_STORE}", set_here.pop("OTASEAL_STORE").replace("%S/%N", str(state)))
    text = text.replace("$OTASEAL_HERE", set_here.pop("OTASEAL_HERE"))
    executable, *arguments = shlex.split(text)
    assert executable == EXECUTABLE
    environment = {name: value.replace("/etc/otaseal", str(etc)) for name, value in set_here.items()}
    environment |= {"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"}
    old = os.umask(int(service["UMask"], 8))
    try:
        log = tmp_path / "journal"
        command = [sys.executable, "-m", "otaseal", *arguments]
        process = started(command, environment, log, int(service["LimitNOFILE"]))
    finally:
        os.umask(old)
    with process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), "the service does not get ready"
        match = READY.fullmatch(process.stdout.readline())
        assert match, log.read_text()
        server = Running(world, state / "store", process, int(match[1]), int(match[2]), log)
        _, server.token = TokenFile(server.store).issue("tests", "*", "*", 1, datetime.now(timezone.utc))
        publish(server, "1.0", world.firmware(1).signed)
        assert talk(world.context(), server.port, get("/firmware.bin.signed")).body == world.firmware(1).signed
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["verdict"] for one in events if one["event"] == "certificate"] == ["accepted", "accepted"]
    assert [one["event"] for one in events[-2:]] == ["stopping", "stopped"]
    assert not (server.store / "tokens.json").stat().st_mode & 0o077


def instructions() -> list[list[str]]:
    """Return the instructions of the Containerfile, each as its words."""
    text = (PACKAGING / "Containerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_container_is_no_root_and_holds_what_its_files_name() -> None:
    lines = instructions()
    (user,) = [words[1] for words in lines if words[0] == "USER"]
    assert user == "10001"
    copied = [words for words in lines if words[0] == "COPY" and not words[1].startswith("--from")]
    root = PACKAGING.parent
    assert all((root / source).exists() for words in copied for source in words[1:-1])
    kept = {line.lstrip("!") for line in (root / ".containerignore").read_text().splitlines() if line.startswith("!")}
    package = configparser.ConfigParser()
    package.read(root / "setup.cfg")
    folders = {
        line.partition("=")[2].split("/")[0].strip() for line in package["options"]["package_dir"].split("\n") if line
    }
    assert {*folders, "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "packaging"} == kept
    assert all((root / name).exists() for name in kept)


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """By docker-compose itself, which needs no Docker for that; what it mounts is there."""
    compose = peers.tool("docker-compose", "docker-compose")
    folder = tmp_path / "packaging" / "compose"
    shutil.copytree(PACKAGING / "compose", folder)
    command = [compose, "--project-directory", folder, "-f", folder / "compose.yaml", "config"]
    refused = run(command)
    assert refused.returncode != 0
    assert b"OTASEAL_DB_PASSWORD" in refused.stderr, "nobody is told which password is missing"
    (folder / ".env").write_text("OTASEAL_DB_PASSWORD=secret\n")
    done = run(command)
    assert done.returncode == 0, done.stderr
    mounted = re.findall(rf"{tmp_path}/packaging/(\S+?):", done.stdout.decode())
    assert {name for name in mounted if not (PACKAGING / name).exists()} == {"compose/tls"}
    assert {"haproxy/haproxy.cfg", "compose/primary.sh", "compose/standby.sh"} <= set(mounted)
    (trusted,) = set(re.findall(r"--proxy-protocol-from=(\S+)", done.stdout.decode()))
    assert done.stdout.decode().count(f"ipv4_address: {trusted}\n") == 1


@pytest.mark.parametrize("alive", [True, False])
def test_the_health_check_tells_alive_from_dead(server: Running, tmp_path: Path, alive: bool) -> None:
    script = tmp_path / "healthcheck.py"
    text = (PACKAGING / "healthcheck.py").read_text()
    assert text.count("PORT = 8444") == 1
    script.write_text(text.replace("PORT = 8444", f"PORT = {server.operators}"))
    if not alive:
        assert server.stop() == 0
    assert run([sys.executable, script]).returncode == (0 if alive else 1)
