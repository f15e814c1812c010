"""What signs, verifies and admits firmware, for tests that have its bytes at hand."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from otaseal.image import signing
from otaseal.image.firmware import Firmware
from otaseal.keys.signers import Signer
from otaseal.release import admission, records
from otaseal.release.admission import Policy
from otaseal.release.records import Origin, Release


def unsigned(data: bytes) -> Firmware:
    return Firmware(data, signed=False)


def sign_firmware(data: bytes, signer: Signer, **options: object) -> bytes:
    return signing.sign_firmware(unsigned(data), signer, **options).data  # type: ignore[arg-type]


def compress(data: bytes, method: str) -> bytes:
    return signing.compress(unsigned(data), method).data


def verify_firmware(data: bytes, key: RSAPublicKey) -> bytes:
    return signing.verify_firmware(Firmware(data), key)


def belongs_to(signed: bytes, firmware: bytes) -> bool:
    return signing.belongs_to(Firmware(signed), unsigned(firmware))


def missing_space(signed: bytes, firmware: bytes, fs_start: int) -> int:
    return signing.missing_space(len(signed), unsigned(firmware), fs_start)


def describe(files: Sequence[bytes], origin: Origin, keys: Sequence[RSAPublicKey]) -> Release:
    return records.describe([Firmware(one) for one in files], origin, keys)


def admit(files: Sequence[bytes], origin: Origin, policy: Policy, current: Release | None) -> Release:
    return admission.admit([Firmware(one) for one in files], origin, policy, current)
