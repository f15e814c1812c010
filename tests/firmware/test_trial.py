"""An update on trial on an ESP32: with boot loaders that wait for the word of new firmware, and with those that do not.

Each test installs a release from a server into slot 1, and then plays one start after the other.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from support.answering import Answers, firmware_reply, reply
from support.command import process
from support.esp32_devices import NOW, RAW, build_image
from support.firmware import Device, Outcome, Signing, StartAnswers, server_context
from support.servers import StartServer, World, operator, publish, until

pytestmark = pytest.mark.proof

ATTEMPTS, UNREACHED, RESTARTS = 37, 70, 71
FIRMWARE = "/blink/firmware.bin.signed"
UP_TO_DATE = reply(b"", "304 Not Modified", None)
HOUR = 3600
LIMIT = 3
OLD, NEW = "0", "1"
DEEP_SLEEP = 8
UNDEFINED = 0xFFFF_FFFF
"""The state that a cable leaves in otadata."""
SLOT_AT, WAKES_AT, REASON_AT = 1, 4, 5
"""Where in the note the subtypes of both slots, the wake-ups and the reason are, a byte each."""


@dataclass
class Trying:
    """A device whose boot loader is of one `kind`, and the server that gave it a release."""

    device: Device
    kind: str
    server: Answers

    def start(self, **settings: object) -> Outcome:
        """Play one start; what the new firmware alone does differently is named `new_...`."""
        values = {name.replace("new_", "1.", 1): value for name, value in settings.items()}
        return self.device.run(boot=self.kind, **{"port": self.server.port, "starts": LIMIT, **values})

    def rewrite(self, at: int, value: bytes) -> None:
        """Change what the library has noted, from byte `at` on."""
        path = self.device.folder / "nvs-trial"
        note = path.read_bytes()
        path.write_bytes(note[:at] + value + note[at + len(value) :])

    @property
    def on_trial(self) -> bool:
        return (self.device.folder / "nvs-trial").exists()

    def said(self) -> list[str]:
        """Return the errors that were said with each request for firmware."""
        heads = [head for head in self.server.requests if f" {FIRMWARE} " in head]
        return [re.findall(r"X-Otaseal-Error: (\d+)", head)[0] for head in heads]


@pytest.fixture(params=["waits", "plain"])
def trying(request: pytest.FixtureRequest, esp32: Device, signing: Signing, answers: StartAnswers) -> Trying:
    """Return a device that has just installed a release, which has not started yet."""
    release = firmware_reply(signing.sign(signing.payload(build_image(seed=1))))
    tried = Trying(esp32, request.param, answers(release))
    (esp32.folder / "slot0").write_bytes(RAW)
    installed = tried.start()
    assert (installed.results, installed.seen["runs"]) == ([("installed", 0, 0)], OLD)
    assert tried.on_trial
    return tried


def assert_given_back(trying: Trying, error: int) -> None:
    """The old firmware runs, says why, and tries the release no more, however often it is offered and started."""
    requests = len(trying.said())
    back = trying.start(polls=2)
    assert back.seen["runs"] == OLD
    assert back.errors == [ATTEMPTS, ATTEMPTS]
    assert back.seen["progress"] == "0", "not even downloaded"
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    assert trying.start().seen["runs"] == OLD
    assert trying.start().errors[:1] == [0]
    assert set(trying.said()[requests:]) == {str(error)}, "at each poll, until there is another release"


def test_the_first_good_poll_confirms_it(trying: Trying) -> None:
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    assert trying.start().results == [("up-to-date", 0, 0)]
    assert not trying.on_trial
    for _ in range(LIMIT + 2):
        assert trying.start(crash="after").seen["runs"] == NEW
    assert trying.start(crash="before").seen["runs"] == NEW
    assert trying.start().results == [("up-to-date", 0, 0)]
    assert set(trying.said()) == {"0"}


def test_it_crashes_before_begin(trying: Trying) -> None:
    """Which the library cannot see, and a boot loader that waits for its word can."""
    assert trying.start(new_crash="before").seen["runs"] == NEW
    if trying.kind == "waits":
        assert_given_back(trying, RESTARTS)
        return
    for _ in range(LIMIT + 2):
        assert trying.start(new_crash="before").seen["runs"] == NEW


def test_it_crashes_after_begin(trying: Trying) -> None:
    for _ in range(LIMIT):
        assert trying.start(new_crash="after").seen["runs"] == NEW
    if trying.kind == "plain":
        over = trying.start()
        assert (over.seen["runs"], over.seen["restarted"], over.ready) == (NEW, "1", False)
        assert over.results == [("failed", RESTARTS, 0)]
    assert_given_back(trying, RESTARTS)


def test_it_crashes_before_begin_the_second_time(trying: Trying) -> None:
    assert trying.start(new_crash="after").seen["runs"] == NEW
    assert trying.start(new_crash="before").seen["runs"] == NEW
    if trying.kind == "waits":
        assert_given_back(trying, RESTARTS)


def test_its_last_start_but_none_works(trying: Trying) -> None:
    for _ in range(LIMIT - 1):
        assert trying.start(new_crash="after").seen["runs"] == NEW
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    assert trying.start().results == [("up-to-date", 0, 0)]
    assert not trying.on_trial
    assert trying.start().seen["runs"] == NEW


def other_authority(answers: StartAnswers, tmp_path: Path, key: rsa.RSAPrivateKey) -> int:
    return answers(UP_TO_DATE, context=server_context(World.create(tmp_path / "other", key))).port


UNREACHABLE: dict[str, Callable[[StartAnswers, Path, rsa.RSAPrivateKey], dict[str, object]]] = {
    "another authority": lambda answers, path, key: {"new_port": other_authority(answers, path, key)},
    "refused": lambda answers, path, key: {"new_port": answers(reply(b"", "403 Forbidden")).port},
    "another product's path": lambda answers, path, key: {"new_channel": "nowhere"},
    "no server": lambda answers, path, key: {"new_port": 1},
    "no network": lambda answers, path, key: {"new_online": 0},
    "no filesystem": lambda answers, path, key: {"new_mountable": 0},
    "no server in the sketch": lambda answers, path, key: {"new_port": 0},
}


@pytest.mark.parametrize("why", UNREACHABLE)
def test_it_does_not_reach_its_server(
    why: str, trying: Trying, answers: StartAnswers, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    settings = UNREACHABLE[why](answers, tmp_path, rsa_key)
    over = trying.start(**settings, polls=0, minutes=70, seconds=HOUR)
    assert (over.seen["runs"], over.seen["restarted"]) == (NEW, "1")
    assert over.results[-1] == ("failed", UNREACHED, 0)
    polls = len(over.results) - 1
    assert polls in ({3, 4, 5} if over.errors[0] != UNREACHED else {0}), "one in each quarter of an hour"
    back = trying.start()
    assert (back.seen["runs"], back.errors, trying.said()[-1]) == (OLD, [ATTEMPTS], str(UNREACHED))


def test_a_server_that_is_down_for_hours_costs_no_update(trying: Trying) -> None:
    assert trying.start(new_port=1, polls=0, minutes=23 * 60).seen["restarted"] == "0"
    assert trying.on_trial
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    assert trying.start().results == [("up-to-date", 0, 0)]
    assert not trying.on_trial


def test_nothing_goes_back_to_what_does_not_start(trying: Trying) -> None:
    (trying.device.folder / "slot0").unlink()
    kept = trying.start(new_port=1, polls=0, minutes=70, seconds=HOUR)
    assert kept.seen["restarted"] == "0"
    assert not trying.on_trial
    for _ in range(LIMIT + 1):
        assert trying.start(crash="after").seen["runs"] == NEW


def test_a_release_that_does_not_start_is_not_tried_again(trying: Trying) -> None:
    """What the slot holds is damaged between the check and the restart."""
    slot = trying.device.folder / "slot1"
    slot.write_bytes(slot.read_bytes()[:9000] + b"\0" + slot.read_bytes()[9001:])
    assert_given_back(trying, RESTARTS)


def test_another_release_is_tried_after_one_that_gave_way(trying: Trying, signing: Signing) -> None:
    trying.start(new_port=1, polls=0, minutes=70, seconds=HOUR)
    assert trying.start().errors == [ATTEMPTS]
    better = signing.sign(signing.payload(build_image(seed=2), version="1.2"))
    trying.server.paths[FIRMWARE] = firmware_reply(better)
    assert trying.start().results == [("installed", 0, 0)]
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    done = trying.start()
    assert (done.seen["runs"], done.results) == (NEW, [("up-to-date", 0, 0)])
    assert trying.said() == ["0", str(UNREACHED), str(UNREACHED), "0"]


def test_a_release_that_gave_way_is_known_in_any_form(trying: Trying) -> None:
    """Another MD5 of the same payload is downloaded once, and then not even that."""
    release = trying.server.paths[FIRMWARE]
    assert isinstance(release, bytes)
    trying.start(new_port=1, polls=0, minutes=70, seconds=HOUR)
    trying.server.paths[FIRMWARE] = reply(release.partition(b"\r\n\r\n")[2], x_MD5="1" * 32)
    assert trying.start().errors == [ATTEMPTS]
    once_more = trying.start()
    assert (once_more.errors, once_more.seen["progress"]) == ([ATTEMPTS], "0")


def test_sleeping_is_not_crashing(trying: Trying) -> None:
    """Twenty wake-ups from deep sleep are one start."""
    trying.rewrite(WAKES_AT, bytes([18]))
    for _ in range(3):
        assert trying.start(crash="after", reset=DEEP_SLEEP).seen["runs"] == NEW
    for _ in range(LIMIT - 1):
        assert trying.start(new_crash="after").seen["runs"] == NEW
    assert trying.start(new_polls=0).seen["runs"] == (NEW if trying.kind == "plain" else OLD)


def test_without_a_trial_the_first_start_decides(trying: Trying) -> None:
    assert trying.start(starts=0, crash="after").seen["runs"] == NEW
    assert not trying.on_trial
    assert trying.start(starts=0, crash="after").seen["runs"] == NEW


def test_what_came_another_way_is_not_on_trial(trying: Trying) -> None:
    """As by ArduinoOTA, of which nothing is noted: the boot loader is told at begin() that all is well."""
    (trying.device.folder / "nvs-trial").unlink()
    for _ in range(LIMIT + 2):
        assert trying.start(crash="after").seen["runs"] == NEW


def test_starts_that_cannot_be_counted(trying: Trying) -> None:
    """The boot loader that waits for a word then has the last one after the first start; the time counts with both."""
    assert trying.start(new_nvs=0, new_crash="after").seen["runs"] == NEW
    if trying.kind == "plain":
        over = trying.start(new_nvs=0, new_port=1, polls=0, minutes=70, seconds=HOUR)
        assert over.results[-1] == ("failed", UNREACHED, 0)
    assert trying.start(polls=0).seen["runs"] == OLD


def test_the_sketch_restarts_when_it_suits(trying: Trying) -> None:
    over = trying.start(new_port=1, polls=0, minutes=200, seconds=HOUR, new_restart=0)
    assert over.seen["restarted"] == "0"
    assert over.errors.count(UNREACHED) == 1
    assert over.results[-1] == ("failed", UNREACHED, 0), "it asks no more"
    assert_given_back(trying, UNREACHED)


def test_an_update_on_trial_is_confirmed_before_the_one_before_it_is_written_over(
    trying: Trying, signing: Signing
) -> None:
    """The server has answered, and what comes next is written where the way back was."""
    better = signing.sign(signing.payload(build_image(seed=2), version="1.2"))
    trying.server.paths[FIRMWARE] = firmware_reply(better[:-1] + b"\x5a")
    assert trying.start().seen["runs"] == NEW
    for _ in range(LIMIT + 2):
        assert trying.start(crash="after").seen["runs"] == NEW


def test_an_update_that_was_called_off_leaves_what_runs_confirmed(trying: Trying, signing: Signing) -> None:
    trying.server.paths[FIRMWARE] = UP_TO_DATE
    trying.start()
    better = signing.sign(signing.payload(build_image(seed=2), version="1.2"))
    trying.server.paths[FIRMWARE] = firmware_reply(better)
    trying.server.later[FIRMWARE] = firmware_reply(better[:-1] + b"\x5a")
    assert trying.start(polls=2, restart=0).results[0][0] == "installed"
    for _ in range(LIMIT + 2):
        assert trying.start(crash="before").seen["runs"] == NEW


def test_the_server_hears_of_it_and_halts_the_rollout(
    start_server: StartServer, esp32: Device, world: World, signing: Signing, tmp_path: Path
) -> None:
    """At the first poll of the old firmware: nobody waits for the hour that a device may be silent."""
    server = start_server()
    new = build_image(seed=1)
    settings = {"boot": "waits", "port": server.port, "1.sketch_md5": hashlib.md5(new).hexdigest()}
    hours = itertools.count(NOW, HOUR)  # a proof has to be later than the one before

    def run(**more: object) -> Outcome:
        return esp32.run(**settings, ntp=next(hours), **more)

    (esp32.folder / "slot0").write_bytes(RAW)
    publish(server, "1.0", signing.sign(signing.payload(RAW, version="1.0")))
    assert set(run().results) == {("up-to-date", 0, 0)}
    publish(server, "1.1", signing.sign(signing.payload(new)))
    assert run().results == [("installed", 0, 0)]

    def listed() -> dict[str, object]:
        (device,) = operator(server).get("/v1/products/blink/devices")["devices"]
        return dict(device)

    unreachable = {"1.port": 1, "seconds": HOUR, "starts": LIMIT}
    assert run(**unreachable, polls=0, minutes=70).results[-1] == ("failed", UNREACHED, 0)
    assert run().errors[0] == ATTEMPTS
    until(lambda: listed()["state"] == "stuck", "the server does not know that it failed")
    (tmp_path / "token").write_text(server.token)
    (tmp_path / "token").chmod(0o600)
    where = ("--server", server.url, "--product", "blink", "--ca", world.ca, "--token-file", "token")
    said = process("devices", *where, cwd=tmp_path).succeeded().out
    assert "STUCK" in said
    assert "gave way to what ran before: the server did not answer it in time" in said
    until(lambda: any(line.startswith("halted ") for line in server.lines()), "the rollout goes on")


def test_the_sketch_may_give_it_up_by_itself(trying: Trying) -> None:
    """By `Update.rollBack()`, which chooses the other slot and says nothing of this one."""
    assert trying.start(new_crash="after").seen["runs"] == NEW
    (trying.device.folder / "otadata").write_text("3 0 2 0")
    assert_given_back(trying, RESTARTS)


def test_a_cable_ends_a_trial(trying: Trying) -> None:
    """Into the other slot, or into the one that is on trial: what it brings is neither given up nor on trial."""
    by_cable = f"1 {UNDEFINED} 0 {UNDEFINED}"
    assert trying.start(new_crash="after").seen["runs"] == NEW
    (trying.device.folder / "otadata").write_text(by_cable)
    assert trying.start().results == [("installed", 0, 0)], "the same release again"
    assert trying.said()[-1] == "0"
    (trying.device.folder / "otadata").write_text(by_cable)
    trying.rewrite(SLOT_AT, bytes([0x10, 0x11]))
    for _ in range(LIMIT + 2):
        assert trying.start(crash="after").seen["runs"] == OLD
    assert not trying.on_trial


@pytest.mark.parametrize("reason", [UNREACHED, RESTARTS])
def test_a_power_cut_while_it_gives_way(reason: int, trying: Trying) -> None:
    """The reason is in NVS, and the other slot is not chosen yet."""
    assert trying.start(new_crash="after").seen["runs"] == NEW
    trying.rewrite(REASON_AT, bytes([reason]))
    assert trying.start().results == [("failed", reason, 0)]
    assert_given_back(trying, reason)


@pytest.mark.parametrize("later", [False, True])
def test_a_note_that_cannot_be_read_is_none(later: bool, trying: Trying) -> None:
    """One that is too short, or of a later format."""
    path = trying.device.folder / "nvs-trial"
    if later:
        trying.rewrite(0, b"\2")
    else:
        path.write_bytes(path.read_bytes()[:-1])
    for _ in range(LIMIT + 1):
        assert trying.start(crash="after").seen["runs"] == NEW
