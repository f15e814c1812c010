"""A release for several boards at a live server: published at once, and each device is given its own image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from otaseal.chips import images
from otaseal.chips.families import FAMILY_OF
from otaseal.image.manifest import Claim
from otaseal.store.documents import blob_name
from otaseal.store.store import Store
from support import peers
from support.board_images import BOARDS, board_key, build, signed
from support.command import Result, process
from support.servers import PRODUCT, Reply, Running, devices_seen, get, parse_reply, run, talk

HEADERS = {"esp8266": "ESP8266", "esp32": "ESP32", "pico": "Pico"}
FILE = "/firmware.bin.signed"


def firmware(server: Running, board: str, version: str) -> tuple[bytes, bytes]:
    """Return the image for a board, and what is published of it."""
    claim = Claim(PRODUCT, board, version)
    image = build(claim, server.world.key)
    return image, signed(image, claim, server.world.key)


def ask(server: Running, board: str, runs: str | None, *more: str, number: int = 1) -> Reply:
    """Ask as the core of a board's chip does, on a device with the `runs` release; curl plays it."""
    name = HEADERS[FAMILY_OF[BOARDS[board]].name]
    lines = [
        f"User-Agent: {name}-http-Update",
        f"x-{name}-STA-MAC: 5C:CF:7F:00:00:{number:02X}",
        f"x-{name}-mode: sketch",
    ]
    if runs is not None and name == "Pico":
        lines.append(f"x-{name}-version: {runs}")
    elif runs is not None:
        image = images.parse(firmware(server, board, runs)[0])
        mode = image.flash_mode if len(image.sketch_digests()) > 1 else 0
        lines += [
            f"x-{name}-sketch-md5: {image.sketch_digests()[mode or 0]}",
            f"x-{name}-sketch-size: {image.sketch_size}",
        ]
        lines.append(f"x-{name}-free-space: {0x100000}")
    options: list[str | Path] = ["-sS", "-i", "--http1.0", "--cacert", server.world.ca]
    for line in (*lines, *more):
        options += ["-H", line]
    done = run([peers.tool("curl", "curl"), *options, f"https://localhost:{server.port}{FILE}"])
    assert done.returncode == 0, done.stderr
    return parse_reply(done.stdout)


@dataclass(frozen=True)
class Operator:
    """Runs commands against the server, in a folder with the files of each board."""

    server: Running
    folder: Path

    def run(self, *command: str) -> Result:
        environment = {
            "OTASEAL_SERVER": self.server.url,
            "OTASEAL_PRODUCT": PRODUCT,
            "OTASEAL_SERVER_CA": str(self.server.world.ca),
            "OTASEAL_TOKEN": self.server.token,
        }
        return process(*command, cwd=self.folder, **environment)

    def deploy(self, version: str, *boards: str, options: tuple[str, ...] = ()) -> Result:
        for board in boards:
            (self.folder / board).write_bytes(firmware(self.server, board, version)[1])
        return self.run("deploy", *boards, "--version", version, "--no-rehearse", *options)


@pytest.fixture
def operator(server: Running, tmp_path: Path) -> Operator:
    return Operator(server, tmp_path)


def named(*boards: str) -> tuple[str, ...]:
    return tuple(word for board in boards for word in ("--board", board))


def test_every_device_is_given_the_image_of_its_board(server: Running, operator: Operator) -> None:
    first = operator.deploy("1.0", *BOARDS, options=named(*BOARDS)).succeeded()
    assert "4 files for d1_mini, esp32dev, nodemcuv2, rpipicow published, read back as devices do" in first.out
    operator.deploy("1.1", *BOARDS, options=("--json", *named(*BOARDS))).succeeded()
    for number, board in enumerate(BOARDS, 1):
        reply = ask(server, board, "1.0", number=number)
        assert (reply.status, reply.headers.get("x-otaseal-version")) == (200, "1.1"), (board, reply.headers)
        expected = firmware(server, board, "1.1")[1]
        assert reply.body == expected
        assert reply.headers["x-md5"] == hashlib.md5(expected, usedforsecurity=False).hexdigest()
        current = ask(server, board, "1.1", number=number)
        assert (current.status, current.headers["x-otaseal-reason"]) == (304, "current")
    states = {device["device"]: (device["running"], device["state"]) for device in devices_seen(server)}
    assert len(states) == len(BOARDS)
    assert set(states.values()) == {("1.1", "updated")}
    listed = operator.run("releases").succeeded().out
    assert "  esp32dev  esp32  raw " in listed


def test_a_device_that_nothing_is_known_of(server: Running, operator: Operator) -> None:
    operator.deploy("1.0", *BOARDS, options=named(*BOARDS)).succeeded()
    unknown = ask(server, "d1_mini", None)
    assert (unknown.status, unknown.headers["x-otaseal-reason"]) == (403, "board")
    assert b"nothing tells which of them this device is" in unknown.body
    said = ask(server, "d1_mini", None, f"X-Otaseal-Board: {board_key('d1_mini')}")
    assert said.body == firmware(server, "d1_mini", "1.0")[1]
    assert ask(server, "esp32dev", None).body == firmware(server, "esp32dev", "1.0")[1]
    assert talk(server.world.context(), server.port, get(FILE)).status == 403
    server.logs("code=board", "status=403")


def test_a_board_that_is_left_out_is_named_before_anything_is_published(server: Running, operator: Operator) -> None:
    operator.deploy("1.0", *BOARDS, options=named(*BOARDS)).succeeded()
    assert ask(server, "rpipicow", "1.0").status == 304
    fewer = tuple(board for board in BOARDS if board != "rpipicow")
    refused = operator.deploy("1.1", *fewer, options=named(*fewer))
    refused.failed(1, "'1.1' has no image for the board of 1 device seen")
    operator.deploy("1.1", *fewer, options=("--strand-devices", *named(*fewer))).succeeded()
    left = ask(server, "rpipicow", "1.0")
    assert (left.status, left.headers["x-otaseal-reason"]) == (403, "board")


def test_the_same_files_are_deployed_again_without_the_names_of_their_boards(operator: Operator) -> None:
    """As by a script outside of the project: the record stays as it is, and has the names."""
    operator.deploy("1.0", *BOARDS, options=named(*BOARDS)).succeeded()
    before = operator.run("releases", "--json").succeeded().json["releases"]
    again = operator.run("deploy", *BOARDS, "--version", "1.0", "--no-rehearse").succeeded()
    assert "4 files" in again.out
    assert operator.run("releases", "--json").succeeded().json["releases"] == before


def test_what_cannot_be_told_apart_is_refused(operator: Operator) -> None:
    refused = operator.deploy("1.0", "d1_mini", "esp32dev", options=named("d1_mini", "rpipicow"))
    refused.failed(1, "no file is for the board 'rpipicow'")
    refused = operator.run("deploy", "d1_mini", "esp32dev", "--version", "1.0", "--layout", "4m2m")
    refused.failed(2, "--filesystem and --layout are for one board, and the release is for 2")
    assert "no release yet" in operator.run("releases").succeeded().out


def test_it_is_checked_backed_up_and_restored(server: Running, operator: Operator, tmp_path: Path) -> None:
    boards = ("rpipicow", "esp32dev")
    done = operator.deploy("1.0", *boards, options=("--json",)).succeeded().json
    assert isinstance(done, dict)
    assert {file["size"] for file in done["files"]} == {len(firmware(server, board, "1.0")[1]) for board in boards}
    process("store", "check", server.store, cwd=tmp_path).succeeded()
    process("store", "backup", server.store, tmp_path / "b.tar", cwd=tmp_path).succeeded()
    process("store", "restore", tmp_path / "b.tar", tmp_path / "again", cwd=tmp_path).succeeded()
    again = Store.open(tmp_path / "again")
    record = again.release(PRODUCT, "1.0")
    assert record == Store.open(server.store).release(PRODUCT, "1.0")
    assert {image.board_key for image in record.images} == {board_key(board) for board in boards}
    assert all(again.read_blob(form.blob) for form in record.files)
    (again.directory / blob_name(record.files[1].blob)).unlink()
    found = process("store", "check", tmp_path / "again", cwd=tmp_path)
    assert found.code != 0
    assert f"blob '{record.files[1].blob}'" in found.out + found.err
