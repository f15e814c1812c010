"""Signed certificate archives: what openssl says of them, and which are refused before a device is given one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from otaseal.certs.certstore import pack
from otaseal.certs.pem import Source
from otaseal.errors import InputError, OtasealError, VerificationError
from otaseal.image import manifest, signed_image
from otaseal.image.firmware import Firmware, check_payload
from otaseal.image.manifest import Claim
from otaseal.keys import public
from otaseal.release import signed_archive
from otaseal.release.archive_record import ArchiveRecord
from otaseal.release.signed_archive import PresentedChain
from support import cas
from support.images import Signer, build_image
from support.openssl import accepts

NOW = cas.NOW
BUILT = int(NOW.timestamp())
CLAIM = Claim("blink", version="2030-06", build_time=BUILT)
ROOT, NEXT = "a server authority of the tests", "another server authority of the tests"


@cache
def root(subject: str = ROOT, index: int = 0) -> bytes:
    return cas.issue(subject, cas.key("P-256", index).public_key(), (subject, cas.key("P-256", index)))


def archive(*certificates: bytes) -> bytes:
    return pack([Source(f"{n}.der", der) for n, der in enumerate(certificates)], NOW).archive


@pytest.fixture(scope="module")
def signed(rsa_key: rsa.RSAPrivateKey) -> bytes:
    return signed_archive.sign(archive(root()), CLAIM, Signer(rsa_key), NOW)


def admit(data: bytes, key: rsa.RSAPrivateKey, **changes: object) -> ArchiveRecord:
    options = {"product": "blink", "current": None, "presented": None, "now": NOW, **changes}
    return signed_archive.admit(data, keys=[key.public_key()], **options)  # type: ignore[arg-type]


def test_openssl_takes_the_signature_over_archive_and_manifest(
    signed: bytes, rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    parsed = signed_image.parse(signed)
    assert parsed.payload[:-64] == archive(root())
    assert parsed.payload[-64:-56] == b"OtaSealM"
    assert accepts(signed, public.public_pem(rsa_key.public_key()), tmp_path)


def test_what_is_admitted_says_what_devices_report(signed: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    record = admit(signed, rsa_key)
    assert (record.size, record.certificates, record.built, record.counter) == (len(signed), 1, BUILT, 0)
    assert ArchiveRecord.from_json(record.to_json()) == record
    assert record.after(record).generation == 2


def test_changed_foreign_and_cut_ones_are_refused(
    signed: bytes, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    with pytest.raises(VerificationError, match="none of the product's 1 public keys"):
        admit(signed, other_rsa_key)
    for position in (0, 100, len(signed) - 300):
        broken = bytearray(signed)
        broken[position] ^= 1
        with pytest.raises((VerificationError, InputError)):
            admit(bytes(broken), rsa_key)
    for end in (0, 3, 200, len(signed) - 1):
        with pytest.raises(InputError):
            admit(signed[:end], rsa_key)
    with pytest.raises(InputError, match="another product than 'lamp'"):
        admit(signed, rsa_key, product="lamp")


def test_a_firmware_is_no_archive_and_an_archive_no_firmware(signed: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    said = manifest.serialise(manifest.make(CLAIM))
    for payload in (build_image() + said, build_image()):
        firmware = signed_image.sign(payload, Signer(rsa_key))
        with pytest.raises(InputError):
            admit(firmware, rsa_key)
    with pytest.raises(InputError, match="this is an ar archive"):
        check_payload(Firmware(signed_image.parse(signed).payload, signed=False))


def test_an_older_one_than_devices_have_is_refused(signed: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    record = admit(signed, rsa_key)
    assert admit(signed, rsa_key, current=record) == record
    with pytest.raises(InputError, match="build time"):
        admit(signed, rsa_key, current=replace(record, built=record.built + 1))
    with pytest.raises(InputError, match="security counter 0 is below 1"):
        admit(signed, rsa_key, current=replace(record, counter=1))


def server(subject: str = ROOT, index: int = 0, name: str = "update.local") -> PresentedChain:
    from cryptography import x509

    san = (x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    usage = (x509.KeyUsage(True, False, False, False, False, False, False, False, False), True)
    valid = (NOW - timedelta(days=1), NOW + timedelta(days=300))
    leaf = cas.issue(
        "server", cas.key("P-256", 7).public_key(), (subject, cas.key("P-256", index)), (san, usage), valid
    )
    return PresentedChain([leaf], [name])


def test_an_archive_without_the_servers_authority_would_lock_devices_out(rsa_key: rsa.RSAPrivateKey) -> None:
    signer = Signer(rsa_key)
    both = signed_archive.sign(archive(root(), root(NEXT, 1)), CLAIM, signer, NOW)
    only = signed_archive.sign(archive(root(NEXT, 1)), CLAIM, signer, NOW)
    assert admit(both, rsa_key, presented=server()).certificates == 2
    assert admit(only, rsa_key, presented=server(NEXT, 1)).certificates == 1
    with pytest.raises(InputError, match=r"would not accept this server as 'update\.local'"):
        admit(only, rsa_key, presented=server())
    with pytest.raises(InputError, match="would not accept this server as 'other'"):
        admit(both, rsa_key, presented=replace(server(), names=["update.local", "other"]))


BROKEN = {"cut": archive(root())[:-2], "empty": b"!<arch>\n", "shifted": b"!<arch>\n" + archive(root())[9:]}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_an_archive_that_devices_cannot_use_is_not_signed(data: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InputError):
        signed_archive.sign(data, CLAIM, Signer(rsa_key), NOW)


def test_an_expired_authority_is_no_obstacle_for_devices(rsa_key: rsa.RSAPrivateKey) -> None:
    """F20: they take it; whoever packs decides, for whom it is dropped by default."""
    signed = signed_archive.sign(archive(root()), CLAIM, Signer(rsa_key), NOW + timedelta(days=9000))
    assert signed_archive.read(signed, [rsa_key.public_key()]).archive == archive(root())


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(OtasealError):
        signed_archive.read(data, [])
    with pytest.raises(InputError):
        ArchiveRecord.from_json(data)
