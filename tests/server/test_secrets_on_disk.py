"""Tokens and keys in files: who may read them, whose they are when root has made them, and damaged ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client.credentials import connect, load_token
from otaseal.errors import KeyRefusedError, SystemFaultError
from otaseal.keys.public import public_pem
from otaseal.settings import Settings
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support.command import TOOLS, process
from support.servers import SECONDS, Running, StartServer, World, get, operator, publish, talk


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604, 0o602])
def test_a_token_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    token = tmp_path / "token"
    token.write_text("otaseal_" + "x" * 43)
    token.chmod(mode)
    with pytest.raises(KeyRefusedError, match=rf"token file '.*token' is open to others \(mode 0{mode:o}\)") as refused:
        load_token(token, {})
    assert refused.value.hint == f"chmod 600 '{token}'"
    pair = {"operator_cert": str(tmp_path / "chain.pem"), "operator_key": str(token)}
    with pytest.raises(KeyRefusedError, match=r"operator's key '.*token' is open to others"):
        connect(Settings(server="https://localhost:8444", **pair), tmp_path, {})
    for private in (0o600, 0o400):
        token.chmod(private)
        assert load_token(token, {})


def test_a_shell_can_hand_a_token_over() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"otaseal_" + b"x" * 43)
    os.close(writing)
    try:
        assert load_token(Path(f"/dev/fd/{reading}"), {})
    finally:
        os.close(reading)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_what_root_does_locks_no_service_out(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    directory = tmp_path / "store"
    process("store", "create", directory, cwd=tmp_path).succeeded()
    Store(directory).add_key("blink", "signing", public_pem(rsa_key.public_key()))
    service = 12345
    for path in (directory, *directory.rglob("*")):
        os.chown(path, service, service)
    (directory / ".lock").unlink()
    made = process("token", "new", "ci", "--store", directory, cwd=tmp_path).succeeded()
    process("token", "new", "other", "--store", directory, cwd=tmp_path).succeeded()
    process("claim", "new", "--product", "blink", "--store", directory, cwd=tmp_path).succeeded()
    names = {"audit.log", "blobs", "products", "secrets.sqlite", "store.json", "tokens.json", ".lock"}
    assert {(path.name, path.stat().st_uid, path.stat().st_gid) for path in directory.iterdir()} == {
        (name, service, service) for name in names
    }
    assert (directory / "secrets.sqlite").stat().st_mode & 0o777 == 0o600
    assert (directory / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert TokenFile(directory).find(made.out.strip(), datetime.now(timezone.utc))


def test_a_token_file_that_cannot_be_used_is_an_alarm_at_the_start(world: World, tmp_path: Path) -> None:
    """It would show when somebody deploys."""
    process("store", "create", tmp_path / "store", cwd=tmp_path).succeeded()
    (tmp_path / "store" / "tokens.json").write_text("{}")
    command = [sys.executable, "-m", "otaseal", "serve", "--store", tmp_path / "store", "--cert", world.chain]
    command += [
        "--key",
        world.chain.with_name("key.pem"),
        "--listen",
        "127.0.0.1:0",
        "--operator-listen",
        "127.0.0.1:0",
    ]
    pipe, environment = subprocess.PIPE, {"PYTHONPATH": str(TOOLS), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("otaseal: serving devices on ")
        server.terminate()
        _, log = server.communicate(timeout=SECONDS)
    assert server.returncode == 0
    assert " tokens alarm=True message=" in log


def test_a_public_key_in_der_form_is_one(start_server: StartServer, world: World, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = world.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "lamp.pub").write_bytes(der)
    server = start_server("--product", f"lamp={tmp_path / 'lamp.pub'}")
    pem = (world.folder / "signing.pub").read_bytes().decode()
    assert operator(server).get("/v1/products/lamp")["keys"] == {"lamp": pem}


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"", b"-----BEGIN PUBLIC KEY-----\n\xe9\n-----END PUBLIC KEY-----\n"])
def test_a_damaged_key_in_the_store_is_named(server: Running, damage: bytes) -> None:
    (key,) = (server.store / "products" / "blink" / "keys").glob("*.pub")
    key.write_bytes(damage)
    reply = talk(
        server.world.context(),
        server.operators,
        get("/v1/products/blink", f"Authorization: Bearer {server.token}"),
    )
    answer = json.loads(reply.body)
    assert (reply.status, set(answer)) == (503, {"error", "hint"})
    assert answer["error"].startswith("the store of 'blink' is damaged: public key 'signing'")
    with pytest.raises(SystemFaultError):
        publish(server, "1.0", server.world.firmware(1).signed)
