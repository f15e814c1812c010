"""A command, and a server, that starts warm, as most do in these tests, is what one that starts from nothing is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support import warm_start
from support.command import process
from support.servers import World, start
from support.serving import SECONDS

pytestmark = pytest.mark.skipif(not warm_start.AVAILABLE, reason="every run starts from nothing here")


@pytest.mark.parametrize("arguments", [["inspect", "absent"], ["config", "--json"], ["--version"], ["key"]])
def test_a_command_says_the_same(arguments: list[str], tmp_path: Path) -> None:
    warm = process(*arguments, cwd=tmp_path)
    assert warm.out + warm.err
    assert warm == process(*arguments, cwd=tmp_path, PYTHONSAFEPATH="")


def test_a_server_ends_as_it_is_ended(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    running = start(World.create(tmp_path / "world", rsa_key), tmp_path / "store")
    assert isinstance(running.process, warm_start.Started)
    assert running.process.poll() is None
    running.process.kill()
    assert running.process.wait(SECONDS) == -signal.SIGKILL
    running.end()
