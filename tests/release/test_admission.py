"""What may become a release, and every refusal by its name."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, signed_image
from otaseal.release.admission import Policy, version_order
from otaseal.release.records import Origin, Release
from support import by_bytes, peers
from support.by_bytes import describe
from support.images import Signer, build_image
from support.rsa_keys import make_rsa

KIB = 1024
ORIGIN = Origin("blink", "1.2.3", "2026-02-01T12:00:00Z", "d1_mini")


@cache
def signed(form: str = "raw", **options: Any) -> bytes:
    raw = build_image(**options)
    return signed_image.sign(raw if form == "raw" else gzip_payload.compress(raw), Signer(make_rsa(2048)))


def policy(**changes: Any) -> Policy:
    return replace(Policy("blink", [make_rsa(2048, 1).public_key(), make_rsa(2048).public_key()]), **changes)


def admit(
    data: bytes | Sequence[bytes], current: Release | None = None, origin: Origin = ORIGIN, **changes: Any
) -> Release:
    files = [data] if isinstance(data, bytes) else data
    return by_bytes.admit(files, origin, policy(**changes), current)


def current(**options: Any) -> Release:
    origin = Origin("blink", options.pop("version", "1.2.2"), "2026-01-31T12:00:00Z", options.pop("board", "d1_mini"))
    return admit(signed(**options), origin=origin)


def test_a_good_build_is_admitted_and_described() -> None:
    for files in ([signed()], [signed("gzip")], [signed(), signed("gzip")]):
        found = admit(files, current())
        assert found == describe(files, ORIGIN, policy().keys)
        assert len(found.forms) == len(files)


def test_unsigned() -> None:
    for data in (build_image(), gzip_payload.compress(build_image())):
        with pytest.raises(InputError, match="is not signed"):
            admit(data)


@pytest.mark.parametrize("form", ["raw", "gzip"])
def test_cut_short_anywhere(form: str) -> None:
    whole = signed(form)
    for length in (*range(1, len(whole), 61), *range(len(whole) - 300, len(whole))):
        with pytest.raises((InputError, VerificationError)) as refused:
            admit(whole[:length])
        assert "cut short or damaged" in refused.value.message or (
            length == len(whole) - 260 and "not signed" in refused.value.message
        )


def test_no_firmware_at_all() -> None:
    for data, said in (
        (b"", "this is an empty file"),
        (b"<html>", "this is an HTML page"),
        (bytes(1000), "this is nothing but bytes of 0x00"),
        (b"\x7fELF" + bytes(1000), "this is an ELF file"),
        (b"\xe9" * 5000, "cut short or damaged"),
        (b"\x88" * 5000, "cut short or damaged"),
    ):
        with pytest.raises(InputError, match=said):
            admit(data)


def test_every_changed_bit_is_found() -> None:
    whole = signed()
    for place in range(0, len(whole) - 4, 97):
        with pytest.raises(VerificationError, match="none of the product's 2 public keys"):
            admit(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])


def test_signed_twice(rsa_key: rsa.RSAPrivateKey) -> None:
    twice = signed_image.serialise(signed_image.SignedImage(signed(), Signer(rsa_key).sign(signed())))
    with pytest.raises(InputError, match="signed twice"):
        admit(twice)


def test_a_strangers_signature(rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> None:
    with pytest.raises(VerificationError, match="none of the product's 2 public keys"):
        admit(signed_image.sign(build_image(), Signer(rsa_keys(3072))))
    with pytest.raises(VerificationError, match="none of the product's 0 public keys"):
        admit(signed(), keys=[])


def test_what_openssl_signed_is_admitted(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """The server needs nothing of ours to have signed: the same bytes come out of openssl and its public key."""
    from cryptography.hazmat.primitives import serialization as pem

    raw, openssl = build_image(), peers.tool("openssl", "openssl")
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "key").write_bytes(rsa_key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()))
    done = subprocess.run(
        [openssl, "dgst", "-sha256", "-sign", "key", "raw"], cwd=tmp_path, capture_output=True, check=True
    )
    assert admit(raw + done.stdout + (256).to_bytes(4, "little")) == admit(signed())


def test_fit_for_no_device(rsa_key: rsa.RSAPrivateKey) -> None:
    """Signed well, by other tools, and yet no update: what the model of the stock core says is heard."""
    raw = build_image()
    packed = gzip_payload.compress(raw)
    unpadded = packed[:3] + b"\0" + packed[10:]
    for payload in (bytes(4096), raw[:-16], packed + bytes(4), raw[:100], unpadded):
        broken = signed_image.serialise(signed_image.SignedImage(payload, Signer(rsa_key).sign(payload)))
        with pytest.raises(InputError):
            admit(broken)
    checksum = bytearray(raw)
    checksum[100] ^= 1  # inside the boot block's code
    broken = signed_image.serialise(signed_image.SignedImage(bytes(checksum), Signer(rsa_key).sign(bytes(checksum))))
    with pytest.raises(VerificationError, match="would not run this update"):
        admit(broken)


def test_foreign_product_and_board() -> None:
    with pytest.raises(InputError, match="product 'blink', not 'other'"):
        admit(signed(), product="other")
    with pytest.raises(InputError, match=r"board 'd1_mini', release 1\.2\.2 is for 'esp01'"):
        admit(signed(), current(board="esp01"))
    admit(signed(), current(board=""))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "dout"}, "flash mode 'DIO', release 1.2.2 is for 'DOUT'"),
        ({"size": "1M"}, "flash size '4194304', release 1.2.2 is for '1048576'"),
    ],
)
def test_another_flash_layout(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        admit(signed(), current(**options))


def test_a_header_without_flash_mode(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image()
    odd = raw[:2] + b"\x07" + raw[3:]
    with pytest.raises(InputError):
        admit(signed_image.serialise(signed_image.SignedImage(odd, Signer(rsa_key).sign(odd))))


def test_too_large() -> None:
    size = len(signed())
    assert admit(signed(), max_size=size)
    with pytest.raises(InputError, match=f"{size} bytes is over the limit of {size - 1}"):
        admit(signed(), max_size=size - 1)


def test_older_than_the_current_release() -> None:
    newest = current(version="1.10.0")
    with pytest.raises(InputError, match=r"version '1.2.3' of 2026-02-01.* older than the current '1.10.0'"):
        admit(signed(), newest)
    admit(signed(), newest, allow_downgrade=True)
    admit(signed(), newest, replace(ORIGIN, version="1.10.1", created="2025-01-01T00:00:00Z"))


def test_where_versions_tell_nothing_the_time_of_the_build_does() -> None:
    bare = current(version="0abcdef")
    for version in ("9abcdef", "fedcba9-dirty", "nightly"):
        admit(signed(), bare, replace(ORIGIN, version=version))
    with pytest.raises(InputError, match="older"):
        admit(signed(), bare, replace(ORIGIN, version="9abcdef", created="2026-01-30T12:00:00Z"))
    admit(signed(), bare, replace(ORIGIN, version="0abcdef", created="2026-01-30T12:00:00Z"))


ASCENDING = [
    "0.9",
    "1.0-alpha",
    "1.0-alpha.1",
    "1.0-alpha.2",
    "1.0-alpha.10",
    "1.0-beta",
    "1.0~rc1",
    "1.0-rc.2",
    "1.0-rc.2-3-g01234ab",
    "v1.0",
    "1.0-1-gabcdef0",
    "1.0-12-gabcdef0-dirty",
    "1.0.1",
    "1.2",
    "1.10",
    "V2",
    "10.0.0+build.7",
    "2026.1.31",
    "20260201",
]


def test_versions_have_their_order() -> None:
    for low, first in enumerate(ASCENDING):
        for high, second in enumerate(ASCENDING):
            assert version_order(first, second) == (low > high) - (low < high), (first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1.0", "1"),
        ("v1.0", "1.0.0"),
        ("1.0+a", "1.0+b"),
        ("1.0-dirty", "1.0"),
        ("abc", "1.0"),
        ("1.0", "nightly"),
        ("9abcdef", "1.0"),
    ],
)
def test_where_nothing_tells(first: str, second: str) -> None:
    assert version_order(first, second) == version_order(second, first) == 0


versions = st.from_regex(r"\Av?[0-9]{1,3}(\.[0-9]{1,3}){0,3}([-~+.][a-z0-9.-]{0,12})?\Z").map(lambda text: text[:64])


@pytest.mark.proof
@settings(max_examples=300)
@given(versions, versions, versions)
def test_the_order_is_one(first: str, second: str, third: str) -> None:
    assert version_order(first, second) == -version_order(second, first)
    assert version_order(first, first) == 0
    if version_order(first, second) >= 0 and version_order(second, third) >= 0:
        assert version_order(first, third) >= 0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.integers(0, 5000), st.integers(0, 300), st.sampled_from(["raw", "gzip"]))
def test_nothing_but_the_signed_bytes_is_admitted(noise: bytes, place: int, length: int, form: str) -> None:
    whole = signed(form)
    for data in (noise, whole[:place] + noise + whole[place + length :], whole + noise):
        if data != whole:
            with pytest.raises(InputError):
                admit(data)


@pytest.mark.parametrize("config", [0x50, 0xF0])
def test_an_image_whose_header_names_no_flash_size(config: int) -> None:
    """A code that no core writes: which devices could take it is unknown."""
    raw = bytearray(build_image())
    raw[3] = raw[0x1003] = config
    payload = bytes(raw)
    data = signed_image.sign(payload, Signer(make_rsa(2048)))
    with pytest.raises(InputError, match="names no flash mode or size"):
        admit(data)
