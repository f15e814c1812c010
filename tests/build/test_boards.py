"""`pio run -t deploy` of one release for several boards: each environment adds its image, the last one publishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.image.manifest import name_id
from support.hooks import ALL_HOOKS, PICO_UPDATING, SELF_UPDATING, opt_in, write_key
from support.pio import PICO_PLATFORM, Project
from support.servers import Running, get, operator, talk

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
BOARDS = ("nodemcuv2", "rpipicow")
SKETCH = f"#ifdef ESP8266\n{SELF_UPDATING}#else\n{PICO_UPDATING}#endif\n"


def configuration(server: Running, folder: Path, key: rsa.RSAPrivateKey, environments: str) -> list[str]:
    token = folder / "token"
    if not token.exists():
        files.write_new(token, f"{server.token}\n".encode(), files.PRIVATE_MODE)
    return [
        "board_build.filesystem = littlefs",
        "[env]",
        *opt_in(*ALL_HOOKS),
        write_key(folder / "signing.key", key)
        if not (folder / "signing.key").exists()
        else f"custom_otaseal_signing_key = file:{folder / 'signing.key'}",
        "custom_otaseal_product = blink",
        f"custom_otaseal_server = {server.url}",
        f"custom_otaseal_server_ca = {server.world.ca}",
        f"custom_otaseal_token_file = {token}",
        f"custom_otaseal_environments = {environments}",
        "[env:rpipicow]",
        f"platform = symlink://{PICO_PLATFORM}",
        "board = rpipicow",
        "framework = arduino",
        "board_build.filesystem_size = 0.5m",
    ]


def served(server: Running, board: str) -> bytes:
    request = get("/firmware.bin.signed", f"X-Otaseal-Board: {name_id(board).hex()}")
    return talk(server.world.context(), server.port, request).body


def releases(server: Running) -> list[str]:
    return [release["version"] for release in operator(server).get("/v1/products/blink/releases")["releases"]]


def test_the_last_environment_publishes_all(
    project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    made = project(*configuration(server, tmp_path, rsa_key, "nodemcuv2, rpipicow"), sources={"main.cpp": SKETCH})
    made.write("certs/ca.pem", server.world.ca.read_text())
    run = made.run("-t", "deploy", env={"OTASEAL_VERSION": "1.0.0"})
    assert "the image for 'nodemcuv2' is kept, nothing is published yet; still to come: rpipicow" in run.stdout
    assert "blink 1.0.0: 2 files for nodemcuv2, rpipicow published, read back as devices do" in run.stdout
    for board in BOARDS:
        assert served(server, board) == made.build("firmware.bin.signed", board).read_bytes()
    assert not list((made.path / ".pio" / "otaseal" / "draft").iterdir())

    made.write("src/main.cpp", SKETCH.replace("8080", "8081"))
    alone = made.run("-e", "rpipicow", "-t", "deploy", env={"OTASEAL_VERSION": "1.1.0"})
    assert "still to come: nodemcuv2" in alone.stdout
    later = made.run("-e", "nodemcuv2", "-t", "deploy", env={"OTASEAL_VERSION": "1.2.0"})
    assert "still to come: rpipicow" in later.stdout, "an image of another version is no part of it"
    assert releases(server) == ["1.0.0"]
    broken = SKETCH.replace("#else\n", "#else\n#error not this one\n")
    made.write("src/main.cpp", broken)
    assert made.run("-t", "deploy", env={"OTASEAL_VERSION": "1.3.0"}, check=False).returncode != 0
    assert releases(server) == ["1.0.0"], "nothing is published where one environment does not build"


@pytest.mark.parametrize(
    ("environments", "said"),
    [("nodemcuv2 other", "names 'other', which does not exist"), ("rpipicow", "does not name it")],
)
def test_a_list_that_does_not_fit_is_an_error(
    project: MakeProject, tmp_path: Path, server: Running, rsa_key: rsa.RSAPrivateKey, environments: str, said: str
) -> None:
    made = project(*configuration(server, tmp_path, rsa_key, environments), sources={"main.cpp": SKETCH})
    run = made.run("-e", "nodemcuv2", "-t", "deploy", env={"OTASEAL_VERSION": "1.0.0"}, check=False)
    assert f"custom_otaseal_environments of 'nodemcuv2' {said}" in run.stderr
    assert releases(server) == []
