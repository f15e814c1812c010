"""What gets through the gate: every counter against every counter, every board against every image, keys, mutations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest
from otaseal.image.manifest import Claim
from otaseal.keys import public
from support.firmware import BOARD, COUNTER, OWN, PRODUCT, Signing, bundle, identity, run_program
from support.images import build_image

pytestmark = pytest.mark.proof

COUNTERS = 50
BOARDS = ("", "d1_mini", "d1_mini_lite", "d1_mini_pro", "nodemcu", "nodemcuv2", "esp01", "esp01_1m", "esp07", "esp12e")
BOARDS += ("huzzah", "thing", "sonoff_basic", "wifinfo")
MUTATIONS = 100_000 if os.environ.get("OTASEAL_THOROUGH") else 5_000
DECISIVE = 64 + 256 + 4  # bytes: manifest, signature, length word
STEP = 1 if os.environ.get("OTASEAL_THOROUGH") else 7  # through their values; a prime, so that each comes
RSA = Callable[..., rsa.RSAPrivateKey]


@pytest.fixture
def verdicts(programs: dict[str, Path], tmp_path: Path) -> Callable[..., list[list[int]]]:
    """Return what gives a row of error numbers for each of `identities`, 0 for the images it would install."""

    def ask(
        identities: Sequence[bytes],
        images: Sequence[bytes],
        key: rsa.RSAPrivateKey,
        next_key: rsa.RSAPrivateKey | None = None,
    ) -> list[list[int]]:
        files = {"key": public.public_pem(key.public_key()), "identities": b"".join(identities)}
        files["images"] = bundle(images)
        if next_key is not None:
            files["next"] = public.public_pem(next_key.public_key())
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        following = tmp_path / "next" if next_key else "-"
        arguments = [tmp_path / "key", following, tmp_path / "identities", tmp_path / "images"]
        printed = run_program(programs["matrix"], "verdicts", *arguments)
        return [[int(number) for number in line.split()] for line in printed.splitlines()]

    return ask


def test_no_counter_ever_goes_back(verdicts: Callable[..., list[list[int]]], signing: Signing) -> None:
    raw = build_image()
    images = [signing.sign(signing.payload(raw, counter=counter)) for counter in range(COUNTERS)]
    identities = [identity(Claim(PRODUCT, BOARD, "1.0", counter)) for counter in range(COUNTERS)]
    expected = [[36 if offered < own else 0 for offered in range(COUNTERS)] for own in range(COUNTERS)]
    assert verdicts(identities, images, signing.key) == expected


def test_counters_are_whole_numbers(verdicts: Callable[..., list[list[int]]], signing: Signing) -> None:
    values = [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    images = [signing.sign(signing.payload(counter=counter)) for counter in values]
    identities = [identity(Claim(PRODUCT, BOARD, "1.0", counter)) for counter in values]
    assert verdicts(identities, images, signing.key) == [[36 if b < a else 0 for b in values] for a in values]


def test_every_board_takes_its_own(verdicts: Callable[..., list[list[int]]], signing: Signing) -> None:
    images = [signing.sign(signing.payload(board=board)) for board in BOARDS]
    identities = [identity(Claim(PRODUCT, board, "1.0")) for board in BOARDS]
    expected = [[0 if not own or not offered or own == offered else 35 for offered in BOARDS] for own in BOARDS]
    assert verdicts(identities, images, signing.key) == expected


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_two_keys_one_after_the_other(verdicts: Callable[..., list[list[int]]], rsa_keys: RSA, bits: int) -> None:
    old, new, third = rsa_keys(2048), rsa_keys(bits, 1), rsa_keys(2048, 2)
    images = [one.sign(one.payload()) for one in map(Signing, (old, new, third))]
    own = [identity(OWN)]
    assert verdicts(own, images, old, new) == [[0, 0, 30]], "while both are compiled in"
    assert verdicts(own, images, new, old) == [[0, 0, 30]]
    assert verdicts(own, images, old) == [[0, 30, 30]], "a device that was never told of the new key is lost to it"
    assert verdicts(own, images, new) == [[30, 0, 30]], "and one that forgot the old key does not go back"


def test_a_manifest_stands_in_its_place_only(verdicts: Callable[..., list[list[int]]], signing: Signing) -> None:
    raw = build_image(code_size=4000)
    said = manifest.serialise(manifest.make(OWN))
    payloads = [
        raw[: 4 * size] + said + bytes(gap) for size, gap in ((1, 0), (500, 4), (500, 64), (500, 128), (500, 0))
    ]
    payloads += [raw[:32], raw[:60] + b"Otas", raw[:4] + said.replace(b"OtaSealM", b"OtaSealI")]
    images = [signing.sign_anything(payload) for payload in payloads]
    assert verdicts([identity(OWN)], images, signing.key) == [[0, 31, 31, 31, 0, 31, 31, 31]]


def test_a_gzip_has_it_in_its_header(verdicts: Callable[..., list[list[int]]], signing: Signing) -> None:
    said = manifest.serialise(manifest.make(OWN))

    def member(flags: int, extra: bytes) -> bytes:
        field = len(extra).to_bytes(2, "little") + extra
        return b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + field + bytes(-len(field) % 4 + 202)

    subfield = b"OS\x40\x00" + said
    payloads = [
        member(4, subfield),
        member(4, subfield + b"PD\x02\x00\x00\x00"),
        member(4, b"PD\x00\x00" + subfield),  # another place
        member(0, subfield),  # no such field, by the flags
        member(4, b"OX\x40\x00" + said),
        member(4, b"OS\x41\x00" + said + b"\0"),
        b"\x1f\x8b\x08\x00" + bytes(200) + said,  # at the end, where a raw image has it
    ]
    images = [signing.sign_anything(payload) for payload in payloads]
    assert verdicts([identity(OWN)], images, signing.key) == [[0, 0, 31, 31, 31, 31, 31]]


def test_no_mutation_is_installed(programs: dict[str, Path], signing: Signing, tmp_path: Path) -> None:
    images = [signing.sign(signing.payload(build_image(seed=seed, code_size=500))) for seed in range(3)]
    (tmp_path / "key").write_bytes(public.public_pem(signing.key.public_key()))
    (tmp_path / "identity").write_bytes(identity(OWN))
    (tmp_path / "images").write_bytes(bundle(images))
    arguments = [tmp_path / "key", tmp_path / "identity", tmp_path / "images", str(MUTATIONS), "1"]
    printed = run_program(programs["matrix"], "mutate", *arguments)
    match = re.fullmatch(r"accepted (\d+), different (\d+)\n", printed)
    assert match, printed
    accepted, different = map(int, match.groups())
    assert different == 0
    assert 0 < accepted < MUTATIONS / 10, "some mutations change nothing: the flash mode is the chip's own (F7)"


def test_no_value_of_a_decisive_byte_opens_the_gate(
    programs: dict[str, Path], signing: Signing, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(public.public_pem(signing.key.public_key()))
    (tmp_path / "identity").write_bytes(identity(OWN))
    (tmp_path / "images").write_bytes(bundle([signing.sign(signing.payload(build_image(code_size=500)))]))
    arguments = [tmp_path / "key", tmp_path / "identity", tmp_path / "images", str(STEP)]
    printed = run_program(programs["matrix"], "bytes", *arguments)
    match = re.fullmatch(r"tried (\d+), accepted (\d+)\n", printed)
    assert match, printed
    tried, accepted = map(int, match.groups())
    assert tried >= 2 * 256 + DECISIVE * 254 // STEP
    assert accepted == 0


def test_the_identity_is_in_the_firmware(programs: dict[str, Path]) -> None:
    found = manifest.identity(programs["device"].read_bytes())
    assert found is not None
    assert found.is_for(PRODUCT, BOARD)
    assert found.counter < COUNTER
