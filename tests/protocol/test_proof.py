"""The proof of a device's name: what is said, what its MAC is over, and what does not hold."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.protocol.proof import MAC_BYTES, Proof, holds, name_of, parse_proof, said
from otaseal.protocol.request import parse_request
from support.proving import ProvingDevice, hmac_sha256

MAC = "5C:CF:7F:F0:04:CB"
NAME = b"5ccf7ff004cb"
FIELDS = (
    "x-ESP8266-version: 1.0",
    "x-ESP8266-sketch-md5: 00112233445566778899AABBCCDDEEFF",
    "X-Otaseal-Counter: 3",
    "X-Otaseal-Error: -6",
    f"X-Otaseal-Certs: {'ab' * 32}",
    "X-Otaseal-Board: 0123456789abcdef",
)


def headers_of(request: bytes) -> list[tuple[bytes, bytes]]:
    lines = request.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    pairs = [line.partition(b":") for line in lines]
    return [(name.lower(), value.strip()) for name, _, value in pairs]


def asked(*lines: str) -> bytes:
    return "\r\n".join(["GET /blink/beta/firmware.bin.signed HTTP/1.0", "Host: x", *lines, "", ""]).encode()


def split(request: bytes) -> tuple[Proof, bytes]:
    headers = headers_of(request)
    (value,) = [value for name, value in headers if name == b"x-otaseal-proof"]
    return parse_proof(value), said("/blink/beta/firmware.bin.signed", headers).by(MAC)


def test_the_text_is_what_the_device_is_to_say_each_value_in_its_line() -> None:
    _, text = split(ProvingDevice(MAC).prove(asked(*FIELDS)))
    assert text.decode() == (
        "otaseal-proof-1\n/blink/beta/firmware.bin.signed\n5ccf7ff004cb\n1.0\n00112233445566778899AABBCCDDEEFF\n"
        f"3\n-6\n{'ab' * 32}\n0123456789abcdef\n1 proof enroll\n"
    )
    assert said("/", []).by(MAC) == b"otaseal-proof-1\n/\n5ccf7ff004cb\n\n\n\n\n\n\n\n"


@pytest.mark.parametrize("prefix", ["x-ESP8266-", "x-ESP32-", "x-Pico-"])
def test_a_proof_holds_for_this_very_request_and_key(prefix: str) -> None:
    device = ProvingDevice(MAC, shows=True)
    fields = [field.replace("x-ESP8266-", prefix) for field in FIELDS]
    proof, text = split(device.prove(asked(*fields)))
    assert proof.device == MAC
    assert proof.sequence == device.clock
    assert proof.key == device.key
    assert holds(proof, device.key, text)
    expected = hmac.new(device.key, text + b"%d\n" % device.clock, hashlib.sha256).digest()
    assert proof.mac == expected[:MAC_BYTES], "the device of the tests is right, by Python's own HMAC"
    assert not holds(proof, ProvingDevice(MAC).key, text)
    assert not holds(proof._replace(sequence=proof.sequence + 1), device.key, text)
    assert not holds(proof, device.key, text.replace(b"/beta/", b"/stable/"))
    for number in range(len(fields)):
        changed = [*fields[:number], fields[number][:-1] + "9", *fields[number + 1 :]]
        _, other = split(device.prove(asked(*changed)))
        assert not holds(proof, device.key, other), changed[number]
        _, other = split(device.prove(asked(*fields[:number], *fields[number + 1 :])))
        assert not holds(proof, device.key, other), f"without {fields[number]}"


def test_a_cloned_flash_has_another_key_on_another_chip() -> None:
    first = ProvingDevice(MAC)
    clone = ProvingDevice("5C:CF:7F:00:00:01", first.secret)
    assert len(first.key) == len(clone.key) == 32
    assert first.key != clone.key


def test_hmac_by_hand_is_that_of_rfc_4231() -> None:
    for key, text in ((b"\x0b" * 20, b"Hi There"), (b"Jefe", b"what do ya want for nothing?"), (b"\xaa" * 131, b"x")):
        assert hmac_sha256(key, text) == hmac.digest(key, text, "sha256")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        NAME,
        NAME + b" 1 " + b"0" * 31,
        NAME + b" 01 " + b"0" * 32,
        NAME + b" -1 " + b"0" * 32,
        NAME + b" 4294967296 " + b"0" * 32,
        NAME.upper() + b" 1 " + b"0" * 32,
        NAME + b"  1 " + b"0" * 32,
        NAME + b" 1 " + b"0" * 32 + b" " + b"0" * 63,
        NAME + b" 1 " + b"0" * 32 + b" " + b"0" * 64 + b" ",
        NAME + b" \xb2 " + b"0" * 32,
    ],
)
def test_what_is_no_proof_is_refused(value: bytes) -> None:
    with pytest.raises(InputError, match="not a proof") as refused:
        parse_proof(value)
    assert "0" * 31 not in str(refused.value) + refused.value.hint, "what is nearly a proof may have a key in it"


@given(st.binary(max_size=200) | st.from_regex(rb"[0-9a-f]{11,13} [0-9]{0,11} [0-9a-f]{31,33}", fullmatch=True))
def test_any_bytes_are_a_proof_or_our_error(value: bytes) -> None:
    try:
        proof = parse_proof(value)
    except InputError:
        return
    shown = b"" if proof.key is None else b" " + proof.key.hex().encode()
    name = name_of(proof.device)
    assert name == proof.name
    assert b"%b %d %b%b" % (name, proof.sequence, proof.mac.hex().encode(), shown) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [("1", set()), ("1 proof", {"proof"}), ("1 proof delta-2 x", {"proof", "delta-2", "x"}), ("2 proof", set())],
)
def test_capabilities_are_words_and_those_of_another_version_mean_nothing(value: str, words: set[str]) -> None:
    request = parse_request("GET", [(b"x-otaseal-capabilities", value.encode())])
    assert request.capabilities == words
    assert parse_request("GET", []).capabilities is None


@pytest.mark.parametrize("value", ["proof", "1  proof", "1 pröof", "1 proof " + "x" * 128])
def test_capabilities_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(InputError):
        parse_request("GET", [(b"x-otaseal-capabilities", value.encode())])
