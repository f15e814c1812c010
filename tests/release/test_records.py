"""Records say of a signed file what the file says of itself, survive JSON, and nothing else passes for one."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, signed_image
from otaseal.release import record_json
from otaseal.release.records import Origin, Release
from otaseal.simulator.verdict import judge
from support.by_bytes import describe
from support.chips import room
from support.images import MODES, Signer, build_image
from support.rsa_keys import make_rsa

ORIGIN = Origin("blink", "1.2.3", "2026-01-31T12:00:00Z", "d1_mini", "0123abc", False)


@cache
def described(**options: Any) -> Release:
    signer = Signer(make_rsa(2048))
    raw = build_image(**options)
    files = [signed_image.sign(raw, signer), signed_image.sign(gzip_payload.compress(raw), signer)]
    return describe(files, ORIGIN, [signer.public_key])


def test_the_record_is_that_of_the_bytes(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(mode="dout", size="1M", core="3.0.2")
    signed = signed_image.sign(raw, Signer(rsa_key))
    found = describe([signed], ORIGIN, [rsa_key.public_key()])
    assert (found.core_release, found.flash_mode, found.flash_size) == ("3.0.2", FlashMode.DOUT, 1024 * 1024)
    assert found.sketch_size == len(raw)
    for name, number in MODES.items():
        on_flash = raw[:2] + bytes([number]) + raw[3:]
        assert found.sketch_md5[number] == hashlib.md5(on_flash).hexdigest(), name
    (form,) = found.forms
    assert (form.kind, form.size, form.image_size, form.min_start) == ("raw", len(signed), len(raw), 0)
    assert form.blob == hashlib.sha256(signed).hexdigest()
    assert form.md5 == hashlib.md5(signed).hexdigest()
    assert found.form("raw") is form
    assert found.form("gzip") is None


def test_both_forms_of_one_build_make_one_release_in_any_order(rsa_key: rsa.RSAPrivateKey) -> None:
    signer, raw = Signer(rsa_key), build_image()
    files = [signed_image.sign(gzip_payload.compress(raw), signer), signed_image.sign(raw, signer)]
    first, second = (describe(order, ORIGIN, [rsa_key.public_key()]) for order in (files, files[::-1]))
    assert first == second
    assert [form.kind for form in first.forms] == ["raw", "gzip"]


def test_files_of_two_builds_are_no_release(rsa_key: rsa.RSAPrivateKey) -> None:
    signer, keys = Signer(rsa_key), [rsa_key.public_key()]
    one, other = (
        signed_image.sign(build_image(), signer),
        signed_image.sign(gzip_payload.compress(build_image(seed=2)), signer),
    )
    for files in ([one, other], [one, one]):
        with pytest.raises(InputError, match="not the raw and the gzip form of one build"):
            describe(files, ORIGIN, keys)
    for files in ([], [one] * 3):
        with pytest.raises(InputError, match=f"not {len(files)}"):
            describe(files, ORIGIN, keys)


def test_forms_signed_by_two_keys_are_no_release(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image()
    files = [
        signed_image.sign(raw, Signer(rsa_key)),
        signed_image.sign(gzip_payload.compress(raw), Signer(other_rsa_key)),
    ]
    with pytest.raises(InputError, match="one build"):
        describe(files, ORIGIN, [rsa_key.public_key(), other_rsa_key.public_key()])


def test_the_key_that_signed_is_found_and_a_strangers_is_refused(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    signed = signed_image.sign(build_image(), Signer(other_rsa_key))
    keys = [rsa_keys(3072).public_key(), rsa_key.public_key(), other_rsa_key.public_key()]
    by_last = describe([signed], ORIGIN, keys)
    assert by_last == describe([signed], ORIGIN, keys[2:])
    for some in (keys[:2], []):
        with pytest.raises(VerificationError, match=f"none of the product's {len(some)} public keys"):
            describe([signed], ORIGIN, some)
    with pytest.raises(VerificationError):
        describe([signed[:100] + bytes([signed[100] ^ 1]) + signed[101:]], ORIGIN, keys)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("product", "../blink"),
        ("product", "Blink"),
        ("product", ""),
        ("product", "b" * 65),
        ("version", "1.2/3"),
        ("version", ".."),
        ("version", "1.2\r\nx-MD5: 0"),
        ("version", "1" * 65),
        ("created", "2026-01-31"),
        ("created", "2026-02-30T12:00:00Z"),
        ("created", "\u0662026-01-31T12:00:00Z"),
        ("board", "d1 mini"),
        ("git_commit", "HEAD"),
    ],
)
def test_an_origin_out_of_bounds_is_refused(field: str, value: str, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = signed_image.sign(build_image(), Signer(rsa_key))
    with pytest.raises(InputError, match=field):
        describe([signed], replace(ORIGIN, **{field: value}), [rsa_key.public_key()])


def test_records_survive_json() -> None:
    for found in (described(), described(mode="qio", size="512K", core="2.7.4")):
        data = record_json.serialise(found)
        assert record_json.parse(data) == found
        assert isinstance(record_json.parse(data).flash_mode, FlashMode)
        assert len(data) * 4 < record_json.MAX_RECORD_SIZE


def changed(path: str, value: object) -> bytes:
    """Return a good record with one value replaced; the path leads through the first form."""
    values = json.loads(record_json.serialise(described()))
    place = values["forms"][0] if path.startswith("forms.") else values
    place[path.removeprefix("forms.")] = value
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 1),
        ("format", 0),
        ("security_counter", -1),
        ("security_counter", 2**32),
        ("security_counter", True),
        ("board_id", "0" * 15),
        ("embedded_keys", None),
        ("embedded_keys", ["SHA256:"]),
        ("embedded_keys", ["SHA256:" + "0" * 64] * 17),
        ("library", 1),
        ("format", True),
        ("surprise", 1),
        ("forms.surprise", 1),
        ("product", 7),
        ("version", "a b"),
        ("dirty", 0),
        ("flash_mode", 4),
        ("flash_mode", True),
        ("flash_mode", 2.0),
        ("flash_size", 3),
        ("sketch_size", 0),
        ("sketch_size", 1.5),
        ("sketch_size", 2**63),
        ("sketch_md5", ["0" * 32] * 3),
        ("sketch_md5", ["0" * 31 + "G"] * 4),
        ("key_fingerprint", "SHA256:"),
        ("forms", []),
        ("forms", [[]]),
        ("forms", [1, 2, 3]),
        ("forms.kind", "xz"),
        ("forms.kind", ["raw"]),
        ("forms.blob", "../../etc/passwd"),
        ("forms.blob", "A" * 64),
        ("forms.md5", "0" * 31),
        ("forms.size", True),
        ("forms.size", -1),
        ("forms.min_start", -1),
    ],
)
def test_a_changed_record_is_refused(path: str, value: object) -> None:
    with pytest.raises(InputError, match="release record has"):
        record_json.parse(changed(path, value))


@pytest.mark.parametrize("name", sorted(json.loads(record_json.serialise(described()))))
def test_no_field_may_be_missing(name: str) -> None:
    values = json.loads(record_json.serialise(described()))
    del values[name]
    with pytest.raises(InputError, match=name):
        record_json.parse(json.dumps(values).encode())


def test_only_one_spelling_is_a_record() -> None:
    good = record_json.serialise(described())
    doubled = good.replace(b'"dirty": false,', b'"dirty": true,\n  "dirty": false,')
    for other in (good + b"\n", good.replace(b" ", b""), doubled, b"\xef\xbb\xbf" + good):
        with pytest.raises(InputError):
            record_json.parse(other)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 16000, b"9" * 5000, b" " * 20000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        record_json.parse(data)


@limits(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 40))
def test_any_bytes_parse_and_serialise_to_themselves_or_are_refused(noise: bytes, place: int, length: int) -> None:
    good = record_json.serialise(described())
    for data in (noise, good[:place] + noise + good[place + length :]):
        try:
            found = record_json.parse(data)
        except InputError:
            continue
        assert record_json.serialise(found) == data


SECTOR = 4096


@limits(max_examples=150, deadline=None)
@given(
    st.integers(0, 5), st.sampled_from(["noise", "zeros", "mixed"]), st.integers(4, 70), st.integers(2, 30), st.data()
)
def test_what_fits_is_what_the_stock_core_survives(
    seed: int, content: str, fs_sectors: int, running_sectors: int, data: st.DataObject
) -> None:
    found, signed, key = fitted(content, seed)
    fs_start, running = fs_sectors * SECTOR, running_sectors * SECTOR
    kind = data.draw(st.sampled_from(["raw", "gzip"]))
    flash, setup = room("3.0.2", key, running=running, fs_start=fs_start)
    outcome = judge(flash, signed[kind], setup)
    form = found.form(kind)
    assert form is not None
    clean = outcome.boots and outcome.flash[fs_start:] == flash[fs_start:]
    assert form.fits(running, fs_start) == clean


@cache
def fitted(content: str, seed: int) -> tuple[Release, dict[str, bytes], rsa.RSAPrivateKey]:
    """Return a release whose code compresses badly, well, or well behind a part that does not."""
    key = make_rsa(2048)
    size = 20000 * (seed + 1) // 2
    parts = {"noise": (size, 0), "zeros": (96, size), "mixed": (size // 2, size)}
    noise, zeros = parts[content]
    raw = build_image(code_size=noise, embedded=bytes(zeros), seed=seed)
    signed = {
        "raw": signed_image.sign(raw, Signer(key)),
        "gzip": signed_image.sign(gzip_payload.compress(raw), Signer(key)),
    }
    return describe(list(signed.values()), ORIGIN, [key.public_key()]), signed, key


def wasteful_gzip(raw: bytes, squeezed: int) -> bytes:
    """Compress the first `squeezed` bytes well, and the rest so badly that the gzip outgrows what comes out of it."""
    stream = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    out = stream.compress(raw[:squeezed])
    for place in range(squeezed, len(raw), 8):
        out += stream.compress(raw[place : place + 8]) + stream.flush(zlib.Z_FULL_FLUSH)
    return gzip_payload.pad4(out + stream.flush())


def test_a_gzip_that_eboot_would_overwrite_while_reading_it_does_not_fit(rsa_key: rsa.RSAPrivateKey) -> None:
    """A copy that is below the filesystem and clear of the sketch, and yet overtakes the reading (F10)."""
    raw = build_image(embedded=bytes(46_000) + random.Random(1).randbytes(9_000))
    signed = signed_image.sign(wasteful_gzip(raw, 50_000), Signer(rsa_key))
    (form,) = describe([signed], ORIGIN, [rsa_key.public_key()]).forms
    overtaken = 0
    for fs_start in range(2 * SECTOR, 30 * SECTOR, SECTOR):
        flash, setup = room("3.1.2", rsa_key, running=5008, fs_start=fs_start)
        outcome = judge(flash, signed, setup)
        clean = outcome.boots and outcome.flash[fs_start:] == flash[fs_start:]
        assert form.fits(5008, fs_start) == clean, fs_start
        overtaken += outcome.bricks and replace(form, min_start=0).fits(5008, fs_start)
    assert overtaken
