"""Firmware signed with a manifest: stock devices and other people's tools take it as they take one without."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, inspection, manifest, signed_image
from otaseal.image.firmware import is_signed
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key, embedded_keys
from otaseal.keys.public import fingerprint, public_pem
from otaseal.release.admission import Policy
from otaseal.simulator.verdict import StockDevice, judge, judge_on
from support import openssl, peers
from support.by_bytes import admit, belongs_to, compress, missing_space, sign_firmware
from support.chips import room
from support.images import CORES, MODES, Signer, build_image
from support.manifest_claims import BOARD, CLAIM, FORMS, ORIGIN, built, library, sign


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("core", CORES)
def test_stock_devices_of_every_core_take_it_and_start(
    core: str, mode: str, form: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    """What they make of it is what they make of the same firmware without a manifest."""
    if (core, form) == ("2.7.4", "gzip"):
        with pytest.raises(InputError, match="unable to start"):
            sign(built(form, core)[1], rsa_key)
        return
    raw, payload = built(form, core, mode=mode)
    signed = sign(payload, rsa_key)
    attached = manifest.find(signed_image.parse(signed).payload)
    assert attached == replace(manifest.make(CLAIM), flash_mode=MODES[mode])
    for chip in FlashMode:
        device = StockDevice(core, public_pem(rsa_key.public_key()), chip)
        with_it, without = (judge_on(device, data) for data in (signed, sign(payload, rsa_key, None)))
        assert replace(with_it, flash=b"") == replace(without, flash=b"")
    flash, setup = room(core, rsa_key, running=len(raw), fs_start=0x100000, mode=MODES[mode])
    assert judge(flash, signed, setup).boots


@pytest.mark.parametrize("form", FORMS)
def test_openssl_bearssl_and_gzip_take_it(form: str, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    raw, payload = built(form)
    signed = sign(payload, rsa_key)
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / "openssl")
    (tmp_path / "update.bin").write_bytes(signed)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "openssl" / "key.pub", "-outform", "der"],
        capture_output=True,
        check=True,
    )
    (tmp_path / "key.der").write_bytes(der.stdout)
    judge = peers.compiled("verify_signature.c", "libbearssl-dev", "bearssl")
    done = subprocess.run([judge, tmp_path / "key.der", tmp_path / "update.bin", "2"], capture_output=True, check=False)
    assert done.stdout.strip() == b"accepted"
    if form == "gzip":
        given = signed_image.parse(signed).payload
        assert subprocess.run(["gzip", "-dc"], input=given, capture_output=True, check=True).stdout == raw
        assert gzip.decompress(given) == raw


def test_signed_again_signed_twice_or_two_manifests_are_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    for form in FORMS:
        signed = sign(built(form)[1], rsa_key)
        payload = signed_image.parse(signed).payload
        assert is_signed(signed)
        assert not is_signed(payload)
        for claim in (None, CLAIM):
            with pytest.raises(InputError, match="signed already"):
                sign(signed, rsa_key, claim)
        with pytest.raises(InputError, match="has a manifest already"):
            sign(payload, rsa_key)
        assert manifest.find(signed_image.parse(sign(payload, rsa_key, None)).payload) is not None


def test_belongs_to_its_firmware_whatever_the_manifest_and_the_form(rsa_key: rsa.RSAPrivateKey) -> None:
    raw, packed = built("gzip")
    other = build_image(seed=2, code_size=6000)
    for claim in (None, CLAIM, replace(CLAIM, build_time=5)):
        assert belongs_to(sign(raw, rsa_key, claim), raw)
        assert belongs_to(sign(packed, rsa_key, claim), packed)
        assert belongs_to(sign(packed, rsa_key, claim), raw)
        assert not belongs_to(sign(packed, rsa_key, claim), other)
        assert not belongs_to(sign(raw, rsa_key, claim), other)
    behind = manifest.attach(raw + bytes(4), manifest.make(CLAIM))
    assert not belongs_to(behind + signed_image.parse(sign(raw, rsa_key)).signature + b"\0\1\0\0", raw)


def test_the_manifest_counts_where_it_needs_one_sector_more(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(code_size=96 + (-len(build_image()) - 260 - 32) % 4096)
    plain, marked = sign(raw, rsa_key, None), sign(raw, rsa_key)
    assert missing_space(marked, raw, 0) == missing_space(plain, raw, 0) + 4096


@pytest.mark.parametrize(
    ("claim", "error", "message"),
    [
        (CLAIM, None, ""),
        (replace(CLAIM, version="", build_time=0), None, ""),
        (replace(CLAIM, version="9"), VerificationError, "version '1.2.3', and is signed for '9'"),
        (None, InputError, "OtaSeal library and no manifest"),
        (replace(CLAIM, product="blank"), VerificationError, "for product [0-9a-f]{16}, and is signed for 'blank'"),
        (replace(CLAIM, board="nodemcuv2"), VerificationError, "for board"),
        (replace(CLAIM, board=""), VerificationError, "for board"),
        (replace(CLAIM, counter=6), VerificationError, "security counter '7', and is signed for '6'"),
        (replace(CLAIM, counter=8), VerificationError, "security counter '7', and is signed for '8'"),
    ],
)
def test_a_manifest_fits_the_library_that_is_in_the_firmware(
    claim: Claim | None, error: type[Exception] | None, message: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Whoever signed it: what `sign` refuses, the server refuses when other tools signed it."""
    policy = Policy("blink", [rsa_key.public_key()])
    for form in FORMS:
        _, payload = built(form, embedded=library(CLAIM, rsa_key))
        if error is None:
            assert admit([sign(payload, rsa_key, claim)], ORIGIN, policy, None).library
            continue
        with pytest.raises(error, match=message):
            sign(payload, rsa_key, claim)
        marked = gzip_payload.pad4(payload) if form == "gzip" else payload
        if claim is not None:
            marked = manifest.attach(payload, manifest.make(claim))
        origin = replace(ORIGIN, board="", **({} if claim is None else {"version": claim.version}))
        named = policy if claim is None else replace(policy, product=claim.product)
        with pytest.raises(error, match=message):
            admit([signed_image.sign(marked, Signer(rsa_key))], replace(origin, product=named.product), named, None)


def test_the_library_holds_both_keys_of_a_bridge_release(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    following = other_rsa_key.public_key()

    def bridge(content: bytes, claim: Claim | None = CLAIM) -> bytes:
        raw = build_image(embedded=content)
        return sign_firmware(raw, Signer(rsa_key), embeds_key=True, next_key=following, claim=claim)

    assert bridge(library(CLAIM, rsa_key, other_rsa_key))
    assert bridge(embedded_key(following), None), "a stock device holds one key, and that is the next"
    with pytest.raises(VerificationError, match="not its own public key"):
        bridge(library(CLAIM, other_rsa_key))
    with pytest.raises(VerificationError, match="does not contain the next public key"):
        bridge(library(CLAIM, rsa_key))


def test_public_keys_in_an_image_are_found(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    both = sorted(fingerprint(key.public_key()) for key in (rsa_key, other_rsa_key))
    pems = [public_pem(key.public_key()) for key in (rsa_key, other_rsa_key)]
    assert embedded_keys(build_image(embedded=pems[0] + b"\0" + pems[1] + pems[0])) == tuple(both)
    other = (fingerprint(other_rsa_key.public_key()),)
    assert embedded_keys(build_image(embedded=pems[1].replace(b"\n", b"\r\n"))) == other
    for none in (b"", b"-----BEGIN PUBLIC KEY-----", pems[0][:-20], pems[0].replace(b"MII", b"AAA")):
        assert embedded_keys(build_image(embedded=none)) == ()


@pytest.mark.parametrize("form", FORMS)
def test_inspect_shows_it(form: str, rsa_key: rsa.RSAPrivateKey) -> None:
    _, payload = built(form, embedded=library(CLAIM, rsa_key))
    found = inspection.inspect(sign(payload, rsa_key), {"key": rsa_key.public_key()})
    expected = {
        "kind": "firmware",
        "product": manifest.name_id("blink").hex(),
        "board": manifest.name_id(BOARD).hex(),
        "version": "1.2.3",
        "security_counter": 7,
        "build_time": 1_700_000_000,
        "flash_mode": 2,
    }
    assert found.as_dict()["manifest"] == expected
    assert found.as_dict()["identity"] == {**expected, "flash_mode": None}
    assert (found.problem, found.signed_by, found.kind) == (None, "key", f"signed {form}")
    text = "\n".join(found.lines())
    assert "manifest      product e14a51fded1fb9b4, board " in text
    assert "version 1.2.3, security counter 7, built 2023-11-14T22:13:20Z" in text
    assert "library       OtaSeal, for product" in text
    damaged = bytearray(manifest.attach(build_image(), manifest.make(CLAIM)))
    damaged[-64 + 8] = 9
    assert "format '9'" in str(inspection.inspect(bytes(damaged), {}).problem)


def test_zopfli_is_as_small_as_its_own_command_line(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """Compared by the deflate stream, and by the file without what the manifest and the padding add (F8)."""
    command = peers.tool("zopfli", "zopfli")
    code = Path(peers.tool("openssl", "openssl")).read_bytes()[:60_000]
    raw = build_image(embedded=code)
    (tmp_path / "firmware.bin").write_bytes(raw)
    subprocess.run([command, "-i15", tmp_path / "firmware.bin"], check=True)
    theirs = gzip_payload.parse((tmp_path / "firmware.bin.gz").read_bytes())
    packed = compress(raw, "zopfli")
    ours = gzip_payload.parse(packed)
    assert len(ours.deflate) <= len(theirs.deflate)
    assert len(ours.deflate) < len(gzip_payload.parse(compress(raw, "gzip")).deflate)
    assert len(packed) % 4 == 0
    given = signed_image.parse(sign(packed, rsa_key)).payload
    added = manifest.SIZE + 4 + 2  # the manifest, its subfield's header, the length of the extra field
    assert len(given) - added <= len(gzip_payload.serialise(theirs)) + 7, "padding: at most 3 bytes and a header of 4"
    assert zlib.decompress(given, 31) == raw
    outcome = judge_on(StockDevice("3.1.2", public_pem(rsa_key.public_key())), sign(packed, rsa_key))
    assert outcome.boots
