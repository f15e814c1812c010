from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips.boot_image import FlashMode
from otaseal.chips.limits import MAX_IMAGE_SIZE
from otaseal.errors import InputError
from otaseal.image import gzip_payload, inspection, signed_image
from support.images import CORES, Signer, build_image


@pytest.fixture
def keys(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> dict[str, rsa.RSAPublicKey]:
    return {"old": other_rsa_key.public_key(), "new": rsa_key.public_key()}


def files(key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    raw = build_image()
    packed = gzip_payload.compress(raw)
    return {
        "raw": raw,
        "gzip": packed,
        "signed raw": signed_image.sign(raw, Signer(key)),
        "signed gzip": signed_image.sign(packed, Signer(key)),
    }


@pytest.mark.parametrize("kind", ["raw", "gzip", "signed raw", "signed gzip"])
def test_every_kind(kind: str, rsa_key: rsa.RSAPrivateKey, keys: dict[str, rsa.RSAPublicKey]) -> None:
    data, raw = files(rsa_key)[kind], build_image()
    found = inspection.inspect(data, keys)
    assert (found.kind, found.size, found.problem) == (kind, len(data), None)
    assert found.image is not None
    assert found.image.core_release == "3.1.2"
    assert found.image.sketch_size == len(raw)
    assert found.signed_by == ("new" if "signed" in kind else None)
    assert (found.signature is not None) == ("signed" in kind)
    assert (found.member is not None) == ("gzip" in kind)
    assert set(found.outcomes) == {*CORES, "head"}
    assert all(outcome.accepted for outcome in found.outcomes.values())
    assert [core for core, outcome in found.outcomes.items() if outcome.bricks] == (
        ["2.7.4"] if kind == "signed gzip" else []
    )
    refusing = {mode for mode, accepted in found.flash_modes.items() if not accepted}
    assert refusing == (set(FlashMode) - {FlashMode.DIO} if kind == "signed raw" else set())


@pytest.mark.parametrize("kind", ["raw", "gzip", "signed raw", "signed gzip"])
def test_json_and_lines_say_the_same(kind: str, rsa_key: rsa.RSAPrivateKey, keys: dict[str, rsa.RSAPublicKey]) -> None:
    found = inspection.inspect(files(rsa_key)[kind], keys)
    as_dict = json.loads(json.dumps(found.as_dict()))
    text = "\n".join(found.lines())
    assert as_dict["kind"] in text
    assert as_dict["image"]["core_release"] in text
    for digest in (as_dict["sha256"], *as_dict["image"]["sketch_md5"].values()):
        assert digest in text
    for outcome in as_dict["stock_cores"].values():
        assert outcome["reason"] in text
    if found.signature is not None:
        assert as_dict["signature"] == {"size": 256, "key": "new"}
        assert "'new'" in text
    assert ("QIO, QOUT, DOUT refuse" in text) == (kind == "signed raw")


def test_a_key_that_does_not_fit(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    signed = files(rsa_key)["signed raw"]
    for keys in ({}, {"other": other_rsa_key.public_key()}):
        found = inspection.inspect(signed, keys)
        assert (found.kind, found.signed_by) == ("signed raw", None)
        text = "\n".join(found.lines())
        assert ("none of the keys given" in text, "give the public key with --key" in text) == (bool(keys), not keys)
        assert {outcome.error for outcome in found.outcomes.values()} == ({12} if keys else {0})
        assert "nothing is verified" not in text
        refusing = [mode for mode, accepted in found.flash_modes.items() if not accepted]
        assert len(refusing) == (4 if keys else 3), "without a key, what its own device makes of it is told"


def test_without_a_key_a_signed_gzip_is_judged_as_by_a_device_that_has_it(rsa_key: rsa.RSAPrivateKey) -> None:
    found = inspection.inspect(files(rsa_key)["signed gzip"], {})
    assert [core for core, outcome in found.outcomes.items() if outcome.bricks] == ["2.7.4"]
    assert found.problem is None


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("raw", lambda data: data[:-1], "application is cut short"),
        ("gzip", lambda data: data + b"\0", "1 byte behind"),
        ("gzip", lambda data: data[:-1], "gzip has"),
        ("signed raw", lambda data: data[:0x1001] + b"\x10" + data[0x1002:], "application is cut short"),
        ("signed gzip", lambda data: data[:60] + b"\xff\xff\xff" + data[63:], "gzip"),
    ],
)
def test_damage_is_named_and_hides_nothing(
    kind: str, change: object, problem: str, rsa_key: rsa.RSAPrivateKey, keys: dict[str, rsa.RSAPublicKey]
) -> None:
    found = inspection.inspect(change(files(rsa_key)[kind]), keys)  # type: ignore[operator]
    assert found.kind == kind
    assert problem in (found.problem or "")
    assert found.signed_by is None
    assert any(problem in line for line in found.lines())
    assert json.dumps(found.as_dict())


def test_what_is_no_image(keys: dict[str, rsa.RSAPublicKey]) -> None:
    block = bytes(8) + b"littlefs" + bytes(4080)
    for data, kind in ((b"", "empty"), (b"\x7fELF" + bytes(600), "elf"), (block, "littlefs"), (b"\x81", "unknown")):
        found = inspection.inspect(data, keys)
        assert (found.kind, dict(found.outcomes), dict(found.flash_modes)) == (kind, {}, {})
        assert found.lines()
        assert json.dumps(found.as_dict())
    with pytest.raises(InputError, match="are more than"):
        inspection.inspect(bytes(MAX_IMAGE_SIZE + 1), keys)


def test_an_image_for_another_flash_mode_is_judged_by_its_own(rsa_key: rsa.RSAPrivateKey) -> None:
    signed = signed_image.sign(build_image(mode="qio", size="1M", core="2.7.4"), Signer(rsa_key))
    found = inspection.inspect(signed, {"key": rsa_key.public_key()})
    assert all(outcome.boots for outcome in found.outcomes.values())
    assert [mode for mode, accepted in found.flash_modes.items() if accepted] == [FlashMode.QIO]
