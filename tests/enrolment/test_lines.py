"""The lines of the bench: what a device may say, and what is passed over."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from otaseal.enrolment.lines import MAX_LINE, Device, Outcome, certificate_line, parse
from otaseal.errors import ConfigError, InputError
from support.enrolling import MAC, csr

KEY = ec.generate_private_key(ec.SECP256R1())
REQUEST = base64.b64encode(csr(KEY)).decode()
PROOF = "ab" * 32
PLAIN = MAC.replace(":", "").lower()


@pytest.mark.parametrize("name", [PLAIN, MAC])
def test_a_device_says_who_it_is(name: str) -> None:
    said = parse(f"otaseal device {name} {PROOF} {REQUEST}".encode())
    assert isinstance(said, Device)
    assert (said.name, said.proof_key, said.request.device) == (MAC, bytes.fromhex(PROOF), MAC)
    assert said.request.public_key == KEY.public_key()
    assert PROOF not in repr(said)


def test_how_it_ends() -> None:
    assert parse(b"otaseal ok") == Outcome(0)
    assert parse(b"otaseal error 44") == Outcome(44)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"hello", b"otaseal", b"otaseal hello", b"otaseal certificate AAAA",
        b"otaseal certs loaded", b" otaseal ok", b"Otaseal ok", b"otaseal  ok", b"otaseal okay",
        b"otaseal: error: x", b"\xff\x00otaseal ok",
    ],
)  # fmt: skip
def test_the_sketchs_own_output_and_an_echo_are_passed_over(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "otaseal device", f"otaseal device {PLAIN}", f"otaseal device {PLAIN} {PROOF}",
        f"otaseal device {PLAIN} {REQUEST}",
        f"otaseal device {PLAIN.upper()} {PROOF} {REQUEST}", f"otaseal device {PLAIN} {PROOF[:-1]} {REQUEST}",
        f"otaseal device {PLAIN} {PROOF} {REQUEST} more", f"otaseal device {PLAIN} {PROOF} {REQUEST[:-8]}",
        f"otaseal device {PLAIN} {PROOF} {REQUEST[:40]}!{REQUEST[41:]}", "otaseal ok 1", "otaseal error",
        "otaseal error x", "otaseal error 99999999999", "otaseal error 0",
    ],
)  # fmt: skip
def test_a_damaged_line_is_refused_and_no_key_is_shown(line: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(line.encode())
    assert PROOF[:4] not in refused.value.message + refused.value.hint


def test_a_request_of_another_device_is_refused() -> None:
    other = base64.b64encode(csr(KEY, "5C:CF:7F:00:00:02")).decode()
    with pytest.raises(InputError, match=f"says that it is '{MAC}', and asks for a certificate of '5C:CF:7F:00:00:02'"):
        parse(f"otaseal device {PLAIN} {PROOF} {other}".encode())


def test_a_key_that_is_not_p_256_is_refused() -> None:
    large = base64.b64encode(csr(ec.generate_private_key(ec.SECP384R1()))).decode()
    with pytest.raises(InputError, match="not on P-256"):
        parse(f"otaseal device {PLAIN} {PROOF} {large}".encode())


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"otaseal device " + rest))
def test_any_line_is_passed_over_or_refused(line: bytes) -> None:
    with contextlib.suppress(InputError):
        assert not isinstance(parse(line), Device)


def test_a_certificate_fits_into_one_line_or_is_refused() -> None:
    line = certificate_line(bytes(885))
    assert len(line) == MAX_LINE
    assert base64.b64decode(line.split(" ")[2]) == bytes(885)
    with pytest.raises(ConfigError, match="does not fit"):
        certificate_line(bytes(886))
