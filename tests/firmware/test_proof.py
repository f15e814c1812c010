"""A device proves itself: what it sends, by Python's own HMAC, and what becomes of its secret (F95, F96, F97)."""

from __future__ import annotations

import hmac
import itertools
import re
import time

import pytest

from otaseal.client.client import product_path
from otaseal.protocol.decisions import PATCHES
from otaseal.release.evidence import Proof
from otaseal.store.secrets import SECRETS_FILE, Secrets
from support.answering import Answers, reply
from support.firmware import PRODUCT, Device, Signing, StartAnswers
from support.servers import MAC, Running, World, operator, publish

pytestmark = pytest.mark.proof

NOW = int(time.time())
NAME = "5ccf7ff004cb"
SAID = ("Counter", "Error", "Certs", "Board", "Capabilities")
TAKE_PATCHES = ("esp8266", "esp32", "pico")
UP_TO_DATE = "304 Not Modified"
CERTIFICATES = "/blink/certs.ar.signed"


def headers(request: str) -> dict[str, str]:
    lines = request.split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


def chip_of(request: str) -> str:
    """Return what a core's updater calls its chip in names of headers; empty for a request of the library's own."""
    found = re.search(r"^x-(\w+)-STA-MAC: ", request, re.M | re.I)
    return found[1].lower() if found else ""


def mac_of(key: bytes, request: str) -> str:
    """Return the MAC over this request, as the protocol has it."""
    found = headers(request)
    name, sequence = found["x-otaseal-proof"].split()[:2]
    ours = [found[f"x-otaseal-{value}".lower()] for value in SAID]
    device = [found.get(f"x-{chip_of(request)}-{value}", "") for value in ("version", "sketch-md5")]
    lines = ["otaseal-proof-1", request.split(" ")[1], name, *device, *ours, sequence]
    return hmac.digest(key, "".join(f"{line}\n" for line in lines).encode(), "sha256")[:16].hex()


def key_of(secret: bytes, name: str = NAME) -> bytes:
    return hmac.digest(secret, name.encode(), "sha256")


def proof(request: str) -> list[str]:
    return headers(request)["x-otaseal-proof"].split(" ")


def good(request: str, secret: bytes, name: str = NAME) -> bool:
    return proof(request)[2] == mac_of(key_of(secret, name), request)


@pytest.fixture(params=["esp8266", "esp32", "pico"])
def any_device(request: pytest.FixtureRequest) -> Device:
    made: Device = request.getfixturevalue({"esp8266": "device"}.get(request.param, request.param))
    return made


def secret_of(device: Device) -> bytes:
    """Return the secret, where that chip keeps it."""
    outside = device.folder / "nvs"
    return outside.read_bytes() if outside.exists() else device.get("otaseal.key")


def serve(answers: StartAnswers, **said: str) -> Answers:
    """Start a server that has nothing new and says this with the answer for certificates."""
    return answers(reply(b"", UP_TO_DATE, None), certs_ar_signed=reply(b"", UP_TO_DATE, None, **said))


def test_every_request_is_proven(answers: StartAnswers, any_device: Device) -> None:
    running = serve(answers)
    assert any_device.run(port=running.port, polls=2).errors == [0, 0]
    secret = secret_of(any_device)
    assert len(secret) == 32
    assert len(set(secret)) > 16
    assert len(running.requests) == 4
    for request in running.requests:
        asks_for_patch = chip_of(request) in TAKE_PATCHES
        assert headers(request)["x-otaseal-capabilities"] == "1 proof" + f" {PATCHES}" * asks_for_patch
        assert re.fullmatch(r"[0-9a-f]{12} [0-9]{1,10} [0-9a-f]{32}", " ".join(proof(request)))
        assert proof(request)[0] == NAME
        assert good(request, secret)
        ours = [line.partition(":")[0] for line in request.split("\r\n") if line.startswith("X-Otaseal-")]
        assert ours == [f"X-Otaseal-{name}" for name in (*SAID, "Proof")]
    sequences = [int(proof(request)[1]) for request in running.requests]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= NOW - 60


@pytest.mark.parametrize("verdict", ["unknown", "wrong"])
def test_the_key_goes_to_a_server_that_does_not_know_it(
    answers: StartAnswers, any_device: Device, verdict: str
) -> None:
    running = serve(answers, X_Otaseal_Proof=verdict)
    running.later[CERTIFICATES] = reply(b"", UP_TO_DATE, None)  # once it has the key
    any_device.run(port=running.port, polls=0, minutes=180)
    shown = [proof(request)[3:] for request in running.requests]
    key = key_of(secret_of(any_device)).hex()
    assert shown[:6] == [[], [], [key], [], [], []], "with one request, and never again"
    assert all(good(request, secret_of(any_device)) for request in running.requests)


def test_a_server_that_never_takes_the_key_is_asked_once_more_and_not_for_ever(
    answers: StartAnswers, device: Device
) -> None:
    running = serve(answers, X_Otaseal_Proof="unknown")
    known = serve(answers)
    device.run(port=running.port, polls=0, minutes=600)
    device.run(port=known.port, polls=0, minutes=600)
    assert 9 <= len(known.requests) // 2 <= 12
    assert 10 <= len(running.requests) // 2 <= 13
    firmware = running.requests[::2]
    assert [len(proof(request)) for request in firmware[:3]] == [3, 4, 4]
    sequences = [int(proof(request)[1]) for request in firmware]
    assert sequences[1] - sequences[0] < 60, "soon after the first answer"
    assert all(later - earlier > 1800 for earlier, later in itertools.pairwise(sequences[1:]))


def test_the_sequence_goes_on_behind_that_of_the_server(answers: StartAnswers, any_device: Device) -> None:
    far = NOW + 10_000_000
    running = serve(answers, X_Otaseal_Proof=f"after {far}")
    any_device.run(port=running.port, polls=2)
    sequences = [int(proof(request)[1]) for request in running.requests]
    assert sequences[0] < sequences[1] < NOW + 3600
    assert sequences[2:] == [far + 1, far + 2], "and that of the device may be as far behind as it likes"
    assert all(len(proof(request)) == 3 for request in running.requests), "that is no reason to show the key"
    assert all(good(request, secret_of(any_device)) for request in running.requests)


@pytest.mark.parametrize(
    "verdict", ["after", "after -1", "after 99999999999999999999", "after 1 2", "", "Unknown", "x" * 500]
)
def test_an_answer_that_makes_no_sense_does_no_harm(answers: StartAnswers, device: Device, verdict: str) -> None:
    running = serve(answers, X_Otaseal_Proof=verdict)
    assert set(device.run(port=running.port, polls=3).errors) == {0}
    secret = device.get("otaseal.key")
    for request in running.requests:
        assert good(request, secret)
        assert int(proof(request)[1]) < 1 << 32


def test_a_clock_that_is_not_set_makes_no_sequence_twice(answers: StartAnswers, device: Device) -> None:
    """Without a time server the clock is the build's, and stands still between two requests of a poll."""
    running = serve(answers)
    device.run(port=running.port, ntp=0, floor=NOW, polls=3)
    sequences = [int(proof(request)[1]) for request in running.requests]
    assert sequences == sorted(set(sequences))


def test_a_clock_that_goes_back_does_not_take_the_sequence_along(answers: StartAnswers, device: Device) -> None:
    """Within one start no number comes twice; after it the server tells where to go on."""
    running = serve(answers)
    device.run(port=running.port, polls=2, clock=NOW + 1000, ntp=NOW, floor=NOW - 1000)
    sequences = [int(proof(request)[1]) for request in running.requests]
    assert sequences == sorted(set(sequences))


def test_a_secret_stays_and_uploadfs_loses_it(answers: StartAnswers, any_device: Device) -> None:
    running = serve(answers)
    any_device.run(port=running.port)
    before = secret_of(any_device)
    any_device.run(port=running.port, chance=7)
    assert secret_of(any_device) == before, "a restart"
    kept = any_device.get("certs.ar")
    for file in (any_device.folder / "fs").iterdir():
        file.unlink()
    any_device.put("certs.ar", kept)
    any_device.run(port=running.port, chance=9)
    in_nvs = any_device.program.parent.name.endswith("esp32")
    assert (secret_of(any_device) == before) == in_nvs
    assert all(good(request, before) for request in running.requests[:4])
    assert all(good(request, secret_of(any_device)) for request in running.requests[4:])


@pytest.mark.parametrize("left", [b"", b"x", b"x" * 31, b"x" * 33])
def test_half_a_secret_is_none(answers: StartAnswers, device: Device, left: bytes) -> None:
    running = serve(answers)
    device.put("otaseal.key", left)
    device.run(port=running.port)
    assert len(device.get("otaseal.key")) == 32
    assert all(good(request, device.get("otaseal.key")) for request in running.requests)


def test_a_secret_that_cannot_be_kept_proves_nothing(answers: StartAnswers, device: Device, esp32: Device) -> None:
    """It would be another one after a restart, and the server would take the device for somebody else."""
    running = serve(answers)
    device.run(port=running.port)
    (device.folder / "fs" / "otaseal.key").unlink()
    running.requests.clear()
    room = sum(file.stat().st_size for file in (device.folder / "fs").iterdir()) + 31
    assert device.run(port=running.port, room=room).errors == [0]
    assert not device.has("otaseal.key")
    assert esp32.run(port=running.port, nvs=0).errors == [0]
    assert all("x-otaseal-proof" not in headers(request) for request in running.requests)
    assert len(running.requests) == 4


def test_another_chip_with_the_same_flash_is_another_device(answers: StartAnswers, any_device: Device) -> None:
    running = serve(answers, X_Otaseal_Proof="unknown")
    any_device.run(port=running.port, polls=2, mac="5C:CF:7F:00:00:0A")
    secret = secret_of(any_device)
    assert proof(running.requests[2])[::3] == ["5ccf7f00000a", key_of(secret, "5ccf7f00000a").hex()]
    assert key_of(secret, "5ccf7f00000a") != key_of(secret)
    assert all(good(request, secret, "5ccf7f00000a") for request in running.requests)
    assert headers(running.requests[0])[f"x-{chip_of(running.requests[0])}-sta-mac"].lower() == "5c:cf:7f:00:00:0a"


def test_a_version_of_any_length_is_proven(answers: StartAnswers, device: Device) -> None:
    running = serve(answers)
    for version in ("", "1.0 of Friday", "v" * 128):
        (device.folder / "version").write_text(version)
        device.run(port=running.port, version=device.folder / "version")
        request = running.requests[-2]
        assert headers(request).get("x-esp8266-version", "") == version
        assert good(request, device.get("otaseal.key"))


@pytest.mark.parametrize("chip", ["esp8266", "esp32", "pico"])
def test_a_server_knows_it_from_the_second_poll_on(request: pytest.FixtureRequest, server: Running, chip: str) -> None:
    device: Device = request.getfixturevalue({"esp8266": "device"}.get(chip, chip))
    device.run(port=server.port, polls=3)
    assert server.stop() == 0
    with Secrets(server.store / SECRETS_FILE) as secrets:
        assert secrets.query("SELECT device, key FROM keys") == [(f"mac:{MAC}", key_of(secret_of(device)))]


def test_what_somebody_says_in_its_name_is_told_apart(
    world: World, server: Running, device: Device, signing: Signing
) -> None:
    firmware = world.firmware(8)
    publish(server, "1.0", signing.sign(signing.payload(firmware.raw, version="1.0")))
    device.runs(firmware.sketch)
    assert set(device.run(port=server.port, polls=3).errors) == {0}

    def rows() -> dict[str, str]:
        return {
            one["device"]: one["proof"] for one in operator(server).get(product_path(PRODUCT, "devices"))["devices"]
        }

    own, poser = f"mac:{MAC}", f"unproven:{MAC}"
    assert rows() == {own: Proof.AGREED.value}, "under one name, from its first request on"
    device.put("otaseal.key", bytes(32))
    assert set(device.run(port=server.port, polls=3).errors) == {0}, "it is served all the same"
    assert rows() == {own: Proof.AGREED.value, poser: Proof.REFUSED.value}
