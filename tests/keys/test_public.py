"""Public keys: what a device can verify with, and by name everything else; openssl makes the inputs and the digests."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from otaseal.errors import KeyRefusedError
from otaseal.keys.public import fingerprint, load_public_key, public_der, public_pem, short_fingerprint
from support import cas
from support.openssl import openssl


@pytest.fixture(scope="module")
def private() -> bytes:
    return openssl("genrsa", "2048")


@pytest.mark.parametrize("bits", [2048, 2056, 3072, 4096])
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_a_key_as_openssl_writes_it_is_read_in_both_forms(
    bits: int, form: str, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    pem = rsa_keys(bits).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = openssl("rsa", "-pubout", "-outform", form, stdin=pem)
    key = load_public_key(public, "it")
    assert key.key_size == bits
    assert public in (public_pem(key), public_der(key))


def test_the_fingerprint_is_what_openssl_says(private: bytes) -> None:
    public = openssl("pkey", "-pubout", stdin=private)
    key = load_public_key(public, "it")
    der = openssl("pkey", "-pubin", "-outform", "der", stdin=public)
    digest = openssl("dgst", "-sha256", "-r", stdin=der).split()[0].decode()
    assert fingerprint(key) == f"SHA256:{digest}"
    assert fingerprint(key).startswith(short_fingerprint(key))
    assert len(short_fingerprint(key)) == len("SHA256:") + 16


def test_text_around_a_pem_key_changes_nothing_of_it(private: bytes) -> None:
    public = openssl("pkey", "-pubout", stdin=private)
    key = load_public_key(b"\r\n\n" + public.replace(b"\n", b"\r\n") + b"\nmy key\n", "it")
    assert public_pem(key) == public


PRIVATE_FORMS: dict[str, tuple[str, ...]] = {
    "PKCS#8 PEM": ("pkcs8", "-topk8", "-nocrypt"),
    "PKCS#8 DER": ("pkcs8", "-topk8", "-nocrypt", "-outform", "DER"),
    "PKCS#8 PEM, encrypted": ("pkcs8", "-topk8", "-passout", "pass:x"),
    "PKCS#8 DER, encrypted": ("pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER"),
    "PKCS#1 PEM": ("rsa", "-traditional"),
    "PKCS#1 PEM, encrypted": ("rsa", "-traditional", "-aes128", "-passout", "pass:x"),
    "PKCS#1 DER": ("rsa", "-traditional", "-outform", "DER"),
}


@pytest.mark.parametrize("form", PRIVATE_FORMS)
def test_a_private_key_in_any_form_is_refused_as_one(private: bytes, form: str) -> None:
    with pytest.raises(KeyRefusedError, match=r"^it is a private key$"):
        load_public_key(openssl(*PRIVATE_FORMS[form], stdin=private), "it")


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_other_private_keys_are_refused_too(form: str) -> None:
    made = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-outform", form)
    with pytest.raises(KeyRefusedError, match=r"^it is a private key$"):
        load_public_key(made, "it")


def test_a_private_key_behind_a_public_one_is_refused(private: bytes) -> None:
    with pytest.raises(KeyRefusedError, match=r"^it is a private key$"):
        load_public_key(openssl("pkey", "-pubout", stdin=private) + private, "it")


@pytest.mark.parametrize(("form", "message"), [("PEM", "PKCS#1 form"), ("DER", "not in SPKI form")])
def test_pkcs1_is_refused_and_the_hint_converts_it(private: bytes, form: str, message: str, tmp_path: Path) -> None:
    pkcs1 = openssl("rsa", "-RSAPublicKey_out", "-outform", form, stdin=private)
    with pytest.raises(KeyRefusedError, match=message) as caught:
        load_public_key(pkcs1, "it")
    if form == "PEM":
        (tmp_path / "it").write_bytes(pkcs1)
        command = caught.value.hint.removeprefix("convert it: ").replace("<it>", str(tmp_path / "it"))
        command = command.replace("signing.pub", str(tmp_path / "signing.pub"))
        subprocess.run(command.split(), check=True, capture_output=True)
        key = load_public_key((tmp_path / "signing.pub").read_bytes(), "it")
        assert public_pem(key) == openssl("pkey", "-pubout", stdin=private)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("P-256", "is of type EC,"),
        ("P-521", "is of type EC,"),
        ("Ed25519", "is of type Ed25519,"),
        ("Ed448", "is of type Ed448,"),
        ("RSA-1024", "has 1024 bits, which is too weak"),
    ],
)
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_kinds_and_sizes_that_do_not_work_are_named(kind: str, message: str, encoding: Encoding) -> None:
    public = cas.key(kind).public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyRefusedError, match=message):
        load_public_key(public, "it")


def test_a_key_of_512_bits_that_the_device_would_take_is_refused() -> None:
    with pytest.raises(KeyRefusedError):
        load_public_key(openssl("rsa", "-pubout", stdin=openssl("genrsa", "512")), "it")


def test_more_bits_than_a_device_can_verify_are_refused(rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> None:
    public = rsa_keys(4104).public_key()
    with pytest.raises(KeyRefusedError, match="has 4104 bits, which is more than a device can verify"):
        load_public_key(public_pem(public), "it")


@pytest.mark.parametrize("der", [False, True])
def test_a_certificate_is_refused(der: bool) -> None:
    certificate = cas.root()
    with pytest.raises(KeyRefusedError, match=r"^it is a certificate$"):
        load_public_key(certificate if der else cas.pem(certificate), "it")


@pytest.mark.parametrize(
    "change", [lambda der: der + b"\0", lambda der: der[:-1], lambda der: b"", lambda der: der[1:]]
)
def test_what_is_not_exactly_one_key_is_refused(change: Callable[[bytes], bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(KeyRefusedError, match=r"^it is no"):
        load_public_key(change(public_der(rsa_key.public_key())), "it")


@pytest.mark.parametrize(
    "garbage", [b"", b"\n", b"garbage", b"-----BEGIN PUBLIC KEY-----\n", hashlib.sha256().digest()]
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(KeyRefusedError, match=r"^it is not a public key$"):
        load_public_key(garbage, "it")
