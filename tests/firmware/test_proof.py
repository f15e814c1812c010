"""A device proves itself: what it sends, checked by Python's own HMAC, and what becomes of its secret."""

from __future__ import annotations

import hmac
import re
import time

import pytest

from support.answering import Answers, reply
from support.firmware import Device, StartAnswers

pytestmark = pytest.mark.proof

NOW = int(time.time())
MAC = "5C:CF:7F:F0:04:CB"
NAME = "5ccf7ff004cb"
SAID = ("Counter", "Error", "Certs", "Board", "Capabilities")
UP_TO_DATE = "304 Not Modified"


def headers(request: str) -> dict[str, str]:
    lines = request.split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


def mac_of(key: bytes, request: str) -> str:
    """Return the MAC over this request, as the protocol has it."""
    found = headers(request)
    name, sequence = found["x-otaseal-proof"].split()[:2]
    ours = [found[f"x-otaseal-{value}".lower()] for value in SAID]
    chip = next((name[: -len("-sta-mac")] for name in found if name.endswith("-sta-mac")), "x-none")
    device = [found.get(f"{chip}-{value}", "") for value in ("version", "sketch-md5")]
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
        assert headers(request)["x-otaseal-capabilities"] == "1 proof"
        assert re.fullmatch(r"[0-9a-f]{12} [0-9]{1,10} [0-9a-f]{32}", " ".join(proof(request)))
        assert proof(request)[0] == NAME
        assert good(request, secret)
        ours = [line.partition(":")[0] for line in request.split("\r\n") if line.startswith("X-Otaseal-")]
        assert ours == [f"X-Otaseal-{name}" for name in (*SAID, "Proof")]
    sequences = [int(proof(request)[1]) for request in running.requests]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= NOW - 60
