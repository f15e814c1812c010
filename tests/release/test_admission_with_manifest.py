"""A release whose files have a manifest: what the record says of it, and what a manifest may say."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import InputError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.firmware import Firmware
from otaseal.image.manifest import Kind
from otaseal.image.signing_header import embedded_key
from otaseal.keys.public import fingerprint
from otaseal.release import record_json, records
from otaseal.release.admission import Policy
from otaseal.release.records import Release
from support.by_bytes import admit, compress, describe
from support.images import CORES, MODES, Signer, build_image
from support.manifest_claims import BOARD, CLAIM, FORMS, ORIGIN, built, library, sign


@pytest.mark.parametrize("form", FORMS)
def test_the_record_is_that_of_the_firmware(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    key = rsa_key.public_key()
    payload = built(form, embedded=embedded_key(key))[1]
    plain, marked = (describe([sign(payload, rsa_key, claim)], ORIGIN, [key]) for claim in (None, CLAIM))
    assert (marked.sketch_md5, marked.sketch_size) == (plain.sketch_md5, plain.sketch_size), "F30"
    assert (plain.security_counter, plain.board_id) == (None, None)
    assert (marked.security_counter, marked.board_id) == (7, manifest.name_id(BOARD).hex())
    assert marked.embedded_keys == (fingerprint(key),)
    assert not marked.library
    written = marked.forms[0].image_size - plain.forms[0].image_size
    assert written == (manifest.SIZE if form == "raw" else 0), "what eboot writes: the raw payload with its manifest"
    assert record_json.parse(record_json.serialise(marked)) == marked


def test_the_manifest_of_a_signed_file(rsa_key: rsa.RSAPrivateKey) -> None:
    for form in FORMS:
        _, payload = built(form)
        assert records.manifest_of(Firmware(sign(payload, rsa_key))) == replace(
            manifest.make(CLAIM), flash_mode=MODES["dio"]
        )
        assert records.manifest_of(Firmware(sign(payload, rsa_key, None))) is None
        assert records.manifest_of(Firmware(payload)) is None
    damaged = bytearray(manifest.attach(build_image(), manifest.make(CLAIM)))
    damaged[-64 + 8] = 9
    assert records.manifest_of(Firmware(signed_image.sign(bytes(damaged), Signer(rsa_key)))) is None


# What a manifest may say, and what is said to it after a release for d1_mini with counter 7.
LONG = "1.2.3-rc.1-4-g0123456789abcdef-dirty"
ADMISSIONS = {
    "fits": (CLAIM, ORIGIN, None),
    "any board": (replace(CLAIM, board=""), ORIGIN, None),
    "a higher counter": (replace(CLAIM, counter=8), ORIGIN, None),
    "another product": (replace(CLAIM, product="blank"), ORIGIN, "manifest is for another product than 'blink'"),
    "another board than it says": (replace(CLAIM, board="nodemcuv2"), ORIGIN, "for another board than 'd1_mini'"),
    "another board than before": (
        replace(CLAIM, board="nodemcuv2"), replace(ORIGIN, board=""), "the image is for board id"
    ),
    "a lower counter": (replace(CLAIM, counter=6), ORIGIN, "security counter 6 is below 7"),
    "no manifest": (None, ORIGIN, "security counter 0 is below 7"),
    "another version": (
        replace(CLAIM, version="1.2.2"), ORIGIN, "for version '1.2.2', and the release is called '1.2.3'"
    ),
    "a version that only begins so": (replace(CLAIM, version="1.2"), ORIGIN, "for version '1.2', and"),
    "no version": (replace(CLAIM, version=""), ORIGIN, None),
    "a long version": (replace(CLAIM, version=LONG), replace(ORIGIN, version=LONG), None),
    "another long version": (replace(CLAIM, version=LONG), replace(ORIGIN, version=LONG[:27]), "release is called"),
}  # fmt: skip


@pytest.mark.parametrize("name", ADMISSIONS)
def test_what_a_manifest_may_say(name: str, rsa_key: rsa.RSAPrivateKey) -> None:
    claim, origin, message = ADMISSIONS[name]
    policy = Policy("blink", [rsa_key.public_key()], allow_downgrade=True)
    before = replace(ORIGIN, version="1.0")
    current = admit([sign(build_image(), rsa_key, replace(CLAIM, version="1.0"))], before, policy, None)
    for form in FORMS:
        signed = sign(built(form, seed=2)[1], rsa_key, claim)
        if message is None:
            assert admit([signed], origin, policy, current).version == origin.version
        else:
            with pytest.raises(InputError, match=message):
                admit([signed], origin, policy, current)


def test_a_manifest_of_another_kind_or_mode_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    policy = Policy("blink", [rsa_key.public_key()])
    for change, message in (({"kind": Kind.CERTIFICATES}, "certificate archive"), ({"flash_mode": 0}, "flash mode 0")):
        payload = manifest.attach(build_image(), replace(manifest.make(CLAIM), **change))  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            admit([signed_image.sign(payload, Signer(rsa_key))], ORIGIN, policy, None)
    raw = build_image(embedded=library(CLAIM, rsa_key))
    with pytest.raises(InputError, match="OtaSeal library and no manifest"):
        admit([signed_image.sign(raw, Signer(rsa_key))], ORIGIN, policy, None)
    unsigned = manifest.attach(build_image(), manifest.make(CLAIM))
    with pytest.raises(InputError, match="the file is not signed"):
        admit([unsigned], ORIGIN, policy, None)


def test_with_the_library_a_manifest_is_needed_for_ever(rsa_key: rsa.RSAPrivateKey) -> None:
    policy = Policy("blink", [rsa_key.public_key()])
    claim = replace(CLAIM, counter=0)

    def current(content: bytes) -> Release:
        signed = sign(build_image(embedded=content), rsa_key, claim)
        return admit([signed], replace(ORIGIN, created="2025-01-31T12:00:00Z"), policy, None)

    bare = sign(build_image(seed=2), rsa_key, None)
    assert admit([bare], ORIGIN, policy, current(b""))
    with pytest.raises(InputError, match="take none without one"):
        admit([bare], ORIGIN, policy, current(library(claim, rsa_key)))


@pytest.mark.parametrize("core", CORES)
def test_only_cores_that_start_from_a_gzip_are_given_one(core: str) -> None:
    for method in gzip_payload.METHODS:
        raw = build_image(core=core)
        if core == "2.7.4":
            with pytest.raises(InputError, match="unable to start") as caught:
                compress(raw, method)
            assert "custom_otaseal_compress" in caught.value.hint
        else:
            assert gzip_payload.parse(compress(raw, method)).content == raw
    with pytest.raises(InputError, match="a gzip already"):
        compress(gzip.compress(build_image()), "gzip")
    silent = bytearray(build_image())
    silent[0x1010:0x101C] = bytes(12)
    with pytest.raises(InputError, match="does not say which core"):
        compress(bytes(silent), "gzip")
