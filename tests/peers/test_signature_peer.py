"""The signature, asked of others: openssl makes and checks it, BearSSL verifies it as the core does."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, signed_image
from otaseal.simulator.verdict import StockDevice, judge_on
from support import peers
from support.chips import public_pem
from support.images import Signer, build_image, signed_by_odd_key, signed_legacy

BITS = [2048, 3072, 4096]
MODE_OFFSET = 2


def write_keys(private_key: rsa.RSAPrivateKey, folder: Path) -> tuple[Path, Path, Path]:
    """Write private PEM, public PEM and public DER, return their paths."""
    private, public = folder / "signing.key", folder / "signing.pub"
    encoding, spki = serialization.Encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    private.write_bytes(
        private_key.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(private_key.public_key().public_bytes(encoding.PEM, spki))
    return private, public, write_der(private_key.public_key(), folder)


def write_der(key: rsa.RSAPublicKey, folder: Path) -> Path:
    der = folder / "signing.der"
    der.write_bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return der


def bearssl(der: Path, data: bytes, mode: int = FlashMode.DIO, *more: str) -> str:
    program = peers.compiled("verify_signature.c", "libbearssl-dev", "bearssl")
    file = der.with_name("update.bin")
    file.write_bytes(data)
    done = subprocess.run([program, der, file, str(int(mode)), *more], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.strip()


def payloads() -> dict[str, bytes]:
    raw = build_image()
    return {"raw": raw, "gzip": gzip_payload.compress(raw)}


@pytest.mark.parametrize("kind", ["raw", "gzip"])
@pytest.mark.parametrize("bits", BITS)
def test_openssl_makes_the_same_bytes(
    rsa_keys: Callable[..., rsa.RSAPrivateKey], tmp_path: Path, bits: int, kind: str
) -> None:
    openssl, key, payload = peers.tool("openssl", "openssl"), rsa_keys(bits), payloads()[kind]
    private, _, _ = write_keys(key, tmp_path)
    done = subprocess.run(
        [openssl, "dgst", "-sha256", "-sign", private], input=payload, capture_output=True, check=True
    )
    assert signed_image.sign(payload, Signer(key)) == payload + done.stdout + struct.pack("<I", bits // 8)


@pytest.mark.parametrize("bits", BITS)
def test_openssl_accepts_ours_and_refuses_the_changed(
    rsa_keys: Callable[..., rsa.RSAPrivateKey], tmp_path: Path, bits: int
) -> None:
    openssl, key = peers.tool("openssl", "openssl"), rsa_keys(bits)
    _, public, _ = write_keys(key, tmp_path)
    signed = signed_image.parse(signed_image.sign(build_image(), Signer(key)))
    file = tmp_path / "signature"
    file.write_bytes(signed.signature)
    command = [openssl, "dgst", "-sha256", "-verify", public, "-signature", file]
    assert subprocess.run(command, input=signed.payload, capture_output=True, check=False).returncode == 0
    changed = signed.payload[:-1] + bytes([signed.payload[-1] ^ 1])
    assert subprocess.run(command, input=changed, capture_output=True, check=False).returncode != 0


def test_openssl_opens_the_legacy_signature_to_the_bare_digest(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    openssl, payload = peers.tool("openssl", "openssl"), build_image()
    _, public, der = write_keys(rsa_key, tmp_path)
    legacy = signed_legacy(payload, rsa_key)
    command = [openssl, "pkeyutl", "-verifyrecover", "-pubin", "-inkey", public, "-pkeyopt", "rsa_padding_mode:pkcs1"]
    opened = subprocess.run(command, input=signed_image.parse(legacy).signature, capture_output=True, check=True).stdout
    digest = subprocess.run([openssl, "dgst", "-sha256", "-binary"], input=payload, capture_output=True, check=True)
    assert opened == digest.stdout
    assert bearssl(der, legacy) == "refused: signature"  # today's cores demand the DigestInfo (F3)
    with pytest.raises(VerificationError):
        signed_image.verify(legacy, rsa_key.public_key())


@pytest.mark.parametrize("kind", ["raw", "gzip"])
@pytest.mark.parametrize("bits", BITS)
def test_bearssl_accepts_ours_and_refuses_the_changed(
    rsa_keys: Callable[..., rsa.RSAPrivateKey], tmp_path: Path, bits: int, kind: str
) -> None:
    key = rsa_keys(bits)
    _, _, der = write_keys(key, tmp_path)
    signed = signed_image.sign(payloads()[kind], Signer(key))
    assert bearssl(der, signed) == "accepted"
    assert bearssl(der, signed[:100] + bytes([signed[100] ^ 4]) + signed[101:]) == "refused: digest"
    assert bearssl(der, signed[:-5] + bytes([signed[-5] ^ 4]) + signed[-4:]) != "accepted"
    assert bearssl(der, signed + b"\0") == "refused: length word"


def test_bearssl_refuses_another_key(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    _, _, der = write_keys(other_rsa_key, tmp_path)
    assert bearssl(der, signed_image.sign(build_image(), Signer(rsa_key))) == "refused: signature"


@pytest.mark.parametrize("kind", ["raw", "gzip"])
@pytest.mark.parametrize("chip", list(FlashMode))
def test_bearssl_and_the_model_agree_on_flash_modes(
    rsa_key: rsa.RSAPrivateKey, tmp_path: Path, kind: str, chip: FlashMode
) -> None:
    _, _, der = write_keys(rsa_key, tmp_path)
    signed = signed_image.sign(payloads()[kind], Signer(rsa_key))
    outcome = judge_on(StockDevice("3.1.2", public_pem(rsa_key), chip), signed)
    assert (bearssl(der, signed, chip) == "accepted") == outcome.accepted
    assert outcome.accepted == (kind == "gzip" or chip is FlashMode.DIO)


@pytest.mark.parametrize("surplus", [1, 2, 3])
def test_bearssl_and_the_model_agree_on_unaligned_payloads(
    rsa_key: rsa.RSAPrivateKey, tmp_path: Path, surplus: int
) -> None:
    _, _, der = write_keys(rsa_key, tmp_path)
    payload = build_image() + bytes(range(1, surplus + 1))
    signature = Signer(rsa_key).sign(payload)
    signed = signed_image.serialise(signed_image.SignedImage(payload, signature))
    assert bearssl(der, signed) == "refused: digest"
    assert judge_on(StockDevice("3.1.2", public_pem(rsa_key)), signed).fact == "F8"


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize(("exponent", "accepted"), [(607, True), (1279, True), (2203, True), (4253, False)])
def test_bearssl_and_the_model_agree_on_odd_keys(tmp_path: Path, exponent: int, accepted: bool, null: bool) -> None:
    """No lower bound, an upper one of 4096 bits, and a DigestInfo with or without parameters (F2)."""
    key, signed = signed_by_odd_key(build_image(), exponent, null)
    answer = bearssl(write_der(key, tmp_path), signed)
    assert answer == ("accepted" if accepted else "refused: signature")
    assert judge_on(StockDevice("3.1.2", public_pem(key)), signed).accepted is accepted
    assert refused(signed, key) == (exponent != 2203 or not null)  # ours is stricter, at both ends


@pytest.mark.proof
def test_every_single_bit_flip(rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """BearSSL, the model and our own verification, each on every flip: refused, but for what the chip rewrites (F7)."""
    _, _, der = write_keys(rsa_key, tmp_path)
    key = rsa_key.public_key()
    signed = signed_image.sign(build_image(), Signer(rsa_key))
    *accepted, count = bearssl(der, signed, FlashMode.DIO, "sweep").splitlines()
    assert accepted == [f"{MODE_OFFSET} {bit}" for bit in range(8)]
    assert count == f"flips {8 * len(signed)}"

    device, ours, model = StockDevice("3.1.2", public_pem(key)), [], []
    flipped = bytearray(signed)
    for offset in range(len(signed)):
        for bit in range(8):
            flipped[offset] ^= 1 << bit
            data = bytes(flipped)
            outcome = judge_on(device, data)
            if outcome.accepted:
                model.append(f"{offset} {bit}")
                assert (outcome.boots, outcome.fact) == (True, "F7")
            if not refused(data, key):
                ours.append(f"{offset} {bit}")
            flipped[offset] ^= 1 << bit
    assert model == accepted
    assert ours == []


def refused(data: bytes, key: rsa.RSAPublicKey) -> bool:
    try:
        signed_image.verify(data, key)
    except InputError:
        return True
    return False
