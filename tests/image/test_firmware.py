"""A firmware file is read once, on every way that it takes in one process. What travels between two: tests/server."""

from __future__ import annotations

from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import InputError
from otaseal.image import gzip_payload, inspection, manifest, signed_image, signing
from otaseal.image.firmware import Firmware, read
from otaseal.release import admission
from otaseal.release.records import Origin
from support import by_bytes
from support.images import Signer, build_image
from support.read_counts import counted, totals, twice

CLAIM = manifest.Claim("blink", "nodemcuv2", "1.0", 3, 1_700_000_000)
ORIGIN = Origin("blink", "1.0", "2026-01-31T12:00:00Z", "nodemcuv2")
FORMS = {"raw": build_image(), "gzip": gzip_payload.compress(build_image())}
GZIP = {"gzip header": 1, "gzip content": 1}
every_form = pytest.mark.parametrize("form", FORMS)


def signed(form: str, key: rsa.RSAPrivateKey) -> bytes:
    return by_bytes.sign_firmware(FORMS[form], Signer(key), embeds_key=False, claim=CLAIM)


def expected(form: str, **others: int) -> Counter[str]:
    return Counter({"image": 1, "signature": 1, **(GZIP if form == "gzip" else {}), **others})


@every_form
def test_signing_reads_a_file_once_and_the_result_once(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    with counted() as counts:
        signing.sign_firmware(Firmware(FORMS[form], signed=False), Signer(rsa_key), embeds_key=False, claim=CLAIM)
    assert twice(counts) == []
    # Two trailers: is it signed already, and, as the last check, what was made of it.
    assert totals(counts) == expected(form, trailer=2, manifest=1, identity=1)


@every_form
def test_verifying_reads_a_file_once(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    firmware = Firmware(signed(form, rsa_key))
    with counted() as counts:
        signing.verify_firmware(firmware, rsa_key.public_key())
        assert firmware.manifest is not None
    assert twice(counts) == []
    assert totals(counts) == expected(form, trailer=1, manifest=1)


@every_form
def test_inspecting_reads_a_file_once(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    data = signed(form, rsa_key)
    with counted() as counts:
        assert inspection.inspect(data, {"key": rsa_key.public_key()}).signed_by == "key"
    assert twice(counts) == []
    assert totals(counts) == expected(form, trailer=1, manifest=1, identity=1)


@pytest.mark.parametrize("forms", [("raw",), ("gzip",), ("raw", "gzip")])
def test_admission_reads_each_file_once(forms: tuple[str, ...], rsa_key: rsa.RSAPrivateKey) -> None:
    files = [Firmware(signed(form, rsa_key)) for form in forms]
    policy = admission.Policy("blink", [rsa_key.public_key()])
    with counted() as counts:
        admission.admit(files, ORIGIN, policy, None)
    assert twice(counts) == []
    # The trailer of each, and the one that it would have if it were signed twice.
    wanted = Counter(trailer=2 * len(forms), manifest=len(forms), identity=1)
    wanted["embedded keys"] = 1
    assert totals(counts) == sum((expected(form) for form in forms), wanted)


@every_form
def test_all_that_a_file_says(form: str, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    data, keys = signed(form, rsa_key), [other_rsa_key.public_key(), rsa_key.public_key()]
    made = read(data)
    assert (made.signed, made.data, made.sketch) == (True, data, FORMS["raw"])
    assert made.manifest == manifest.find(signed_image.parse(data).payload)
    assert made.signed_by(keys) is keys[1]
    assert made.signed_by(keys[:1]) is None
    unsigned = read(FORMS[form])
    assert (unsigned.signed, unsigned.payload, unsigned.manifest) == (False, FORMS[form], None)
    assert unsigned.payload_with(made.manifest) == made.payload
    with pytest.raises(InputError, match="no signature trailer"):
        unsigned.signed_by(keys)


@every_form
def test_what_is_damaged_is_refused_where_it_is_read(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    """Whose it is can still be told, and its trailer."""
    payload = FORMS[form][:-20] + FORMS[form][-16:]
    damaged = Firmware(signed_image.sign(payload, Signer(rsa_key)))
    assert damaged.signed_by([rsa_key.public_key()]) is not None
    assert not damaged.is_whole
    with pytest.raises(InputError):
        _ = damaged.image
