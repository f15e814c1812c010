"""Rehearsals of releases for several boards at a live server: of a board that is new there, and of a twin."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from support.board_images import build, signed
from support.command import Result, process
from support.images import build_image
from support.servers import PRODUCT, Running


def deploy(server: Running, folder: Path, version: str, channel: str, files: dict[str, bytes]) -> Result:
    """Deploy the signed files of some boards as a person does who has no project, with the rehearsal of each."""
    for board, content in files.items():
        (folder / board).write_bytes(content)
    token = folder / "token"
    token.write_text(f"{server.token}\n")
    token.chmod(0o600)
    server_options = ("--server", server.url, "--product", PRODUCT, "--channel", channel, "--ca", server.world.ca)
    named = [option for board in files for option in ("--board", board)]
    options = (*server_options, "--token-file", token, "--version", version, *named)
    return process("deploy", *map(str, (*files, *options)), cwd=folder)


def with_library(key: rsa.RSAPrivateKey, version: str, *boards: str) -> dict[str, bytes]:
    claims = [Claim(PRODUCT, board, version) for board in boards]
    return {claim.board: signed(build(claim, key), claim, key) for claim in claims}


def stock(key: rsa.RSAPrivateKey, version: str, *boards: str) -> dict[str, bytes]:
    """Return an image of each board, the same in all versions, whose core alone verifies."""
    images = [build_image(seed=len(board), embedded=embedded_key(key.public_key())) for board in boards]
    made = zip(boards, images, strict=True)
    return {board: signed(image, Claim(PRODUCT, board, version), key) for board, image in made}


@pytest.mark.proof
@pytest.mark.parametrize(("new", "major"), [("esp32dev", 1), ("d1_mini", 2), ("rpipicow", 3)])
def test_a_board_is_added_to_a_product(
    new: str, major: int, server: Running, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    """What the server gives out is not for the new board, and the rehearsal does not take that for a fault."""
    for minor, boards in enumerate((("nodemcuv2",), ("nodemcuv2", new), ("nodemcuv2", new))):
        version = f"{major}.{minor}.0"
        result = deploy(server, tmp_path, version, f"new-{major}", with_library(rsa_key, version, *boards))
        assert result.code == 0, result.err
        assert result.out.count("rehearsed on a virtual") == len(boards)


def test_a_release_that_is_there_is_deployed_again(server: Running, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """Where twins of both boards stand for what devices run: the library says which board each of them has."""
    files = with_library(rsa_key, "4.0.0", "nodemcuv2", "d1_mini")
    for _ in range(2):
        result = deploy(server, tmp_path, "4.0.0", "again", files)
        assert result.code == 0, result.err


def test_images_that_did_not_change_are_deployed_in_the_next_release(
    server: Running, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    """A stock core says its sketch MD5 alone, and of a twin the server knows none."""
    for version in ("5.0.0", "5.1.0"):
        result = deploy(server, tmp_path, version, "stock", stock(rsa_key, version, "nodemcuv2", "d1_mini"))
        assert result.code == 0, result.err
