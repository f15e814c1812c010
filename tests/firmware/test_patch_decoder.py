"""The device library's decoder of patches: what the one in Python makes or refuses, it makes or refuses, too."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from hashlib import md5, sha256
from itertools import pairwise
from pathlib import Path

import bsdiff4
import pytest

from otaseal.delta import header
from otaseal.delta.errors import WrongBaseError
from otaseal.delta.instructions import RISCV, THUMB, XTENSA, Instructions
from otaseal.delta.making import make
from support import patches, peers
from support.firmware import LIBRARY, run_compiler
from support.fuzzing import fuzz
from support.patch_cases import BASE, NEW, OLD, PATCH, REAL, REFUSED, TARGET, hostile, mutated, relocated
from support.patch_decoder import (
    CONNECT,
    DAMAGED,
    FLASH,
    NONE,
    SOURCES,
    SPACE,
    WRONG_BASE,
    Case,
    Made,
    PatchDecoder,
    expected,
)

pytestmark = pytest.mark.proof

VECTORS = json.loads((Path(__file__).parents[1] / "delta" / "vectors.json").read_text())
MUTATIONS = int(os.environ.get("OTASEAL_MUTATIONS", "600"))
FUZZER = Path(__file__).with_name("fuzz") / "patches.cpp"
RUNS, SECONDS = (2_000_000, 600) if os.environ.get("OTASEAL_THOROUGH") else (30_000, 5)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> PatchDecoder:
    return PatchDecoder.compile(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def decoders(
    decoder: PatchDecoder, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Instructions, PatchDecoder]]:
    """Return the decoder of each set of instructions, which takes patches with runs of no other."""
    pico = PatchDecoder.compile(tmp_path_factory.mktemp("thumb"), "-DARDUINO_ARCH_RP2040")
    esp32 = PatchDecoder.compile(tmp_path_factory.mktemp("riscv"), "-DARDUINO_ARCH_ESP32", "-D__riscv")
    return [(XTENSA, decoder), (THUMB, pico), (RISCV, esp32)]


def agree(decoder: PatchDecoder, cases: Iterable[tuple[bytes, bytes]]) -> list[int]:
    """Check that both decoders say the same of each base and patch, and return the errors."""
    asked = [Case(base, patch, piece=1 + number % 100) for number, (base, patch) in enumerate(cases)]
    found = decoder.decode(asked)
    for case, made in zip(asked, found, strict=True):
        image = made.image if made.error == NONE else b""
        assert Made(made.error, image) == expected(case.base, case.patch), (case.base.hex(), case.patch.hex())
    return [made.error for made in found]


def test_the_vectors(decoders: list[tuple[Instructions, PatchDecoder]]) -> None:
    every = [(bytes.fromhex(row["base"]), bytes.fromhex(row["patch"]), row) for row in VECTORS]
    for known, decoder in decoders:
        rows = [row for row in every if row[1][10] == 0 or row[1][11] == known.number]
        agree(decoder, ((base, patch) for base, patch, _ in rows))
        good = [(Case(base, patch), row["target"]) for base, patch, row in rows if "target" in row]
        assert [made.image.hex() for made in decoder.decode(case for case, _ in good)] == [target for _, target in good]
        others = [
            Case(base, patch) for base, patch, row in every if "target" in row and row not in [r[2] for r in rows]
        ]
        assert others
        assert {made.error for made in decoder.decode(others)} == {DAMAGED}


def test_every_way_to_be_refused(decoder: PatchDecoder) -> None:
    errors = agree(decoder, ((BASE, patch()) for _, _, patch in REFUSED.values()))
    wrong_base = [error is WrongBaseError for error, _, _ in REFUSED.values()]
    assert [error == WRONG_BASE for error in errors] == wrong_base


@pytest.mark.parametrize("piece", [1, 2, 67, 68, 69, 72, 1 << 20])
def test_pieces_of_any_size_make_the_same(decoder: PatchDecoder, piece: int) -> None:
    assert decoder.decode([Case(OLD, REAL, piece)]) == [Made(NONE, NEW)]


@pytest.mark.parametrize("piece", [1, len(PATCH) - 1, len(PATCH), len(PATCH) + 1])
def test_what_follows_the_end_is_refused_in_whichever_piece_it_comes(decoder: PatchDecoder, piece: int) -> None:
    assert [made.error for made in decoder.decode([Case(BASE, PATCH + b"\0", piece)])] == [DAMAGED]


def test_it_makes_what_bspatch_makes(decoder: PatchDecoder) -> None:
    noise = random.Random(4)
    some, functions = noise.randbytes(3000), patches.program(300)
    old = patches.image(functions)
    pairs = [
        (some, some),
        (some, noise.randbytes(2000)),
        (some, some[1500:] + some[:1500]),
        (bytes(5000), bytes(4997) + b"abc"),
        (some[:1], b"\0"),
        (b"\xff", some),
        (old, patches.image([*functions[:100], *patches.program(3, seed=2), *functions[100:]])),
        (old, patches.image(functions[7:])),
        *((base, target) for base, _, target in (relocated(noise) for _ in range(40))),
    ]
    made = decoder.decode(Case(base, make(base, target)) for base, target in pairs)
    assert made == [Made(NONE, bsdiff4.patch(base, bsdiff4.diff(base, target))) for base, target in pairs]


def test_any_map_and_any_code(decoders: list[tuple[Instructions, PatchDecoder]]) -> None:
    """A patch may name whatever it likes as addresses and as code: both decoders foretell the same of it."""
    noise = random.Random(7)
    for known, decoder in decoders:
        cases = [relocated(noise, known) for _ in range(MUTATIONS // 4)]
        made = decoder.decode(Case(base, patch, 1 + number % 99) for number, (base, patch, _) in enumerate(cases))
        assert made == [Made(NONE, new) for _, _, new in cases]
        broken = ((base, _changed(noise, patch)) for base, patch, _ in cases)
        assert DAMAGED in agree(decoder, broken)


def _changed(noise: random.Random, patch: bytes) -> bytes:
    place = noise.randrange(header.SIZE, len(patch))
    return patch[:place] + noise.randbytes(1) + patch[place + 1 :]


def test_a_word_needs_four_bytes_of_the_copy(decoder: PatchDecoder) -> None:
    """Where the copy ends within a word there is none, even at the base's very first byte."""
    base = (0x4020_0000).to_bytes(4, "little") * 2
    mapped = [("place", 0x4020_0000), ("shift", 8)]
    for size in range(1, 8):
        parts = [*mapped, ("copied", size), ("same", size), ("added", 0)]
        agree(decoder, [(base, patches.patch(base, base[:size], parts, shifts=1))])


def test_a_map_reaches_from_the_first_address_to_the_last(decoder: PatchDecoder) -> None:
    words = (0, 8, 0xFFFF_FFFC, 0xFFFF_FFFE, 0x4020_0000)
    base = b"".join(word.to_bytes(4, "little") for word in words)
    for starts in ((0, 0xFFFF_FFF0), (0,), (0xFFFF_FFFE,), (0, 0xFFF0_0000), (0, 0xFFF0_0001)):
        gaps = [starts[0], *(after - before for before, after in pairwise(starts))]
        mapped = [part for gap in gaps for part in (("place", gap), ("shift", 8))]
        parts = [*mapped, ("copied", len(base)), ("same", len(base)), ("added", 0)]
        agree(decoder, [(base, patches.patch(base, base, parts, shifts=len(starts)))])


def test_hostile_patches(decoders: list[tuple[Instructions, PatchDecoder]]) -> None:
    noise = random.Random(11)
    for known, decoder in decoders:
        errors = agree(decoder, (hostile(noise, known) for _ in range(MUTATIONS)))
        assert {NONE, DAMAGED} <= set(errors)


def test_no_mutated_patch_gives_other_bytes(decoder: PatchDecoder) -> None:
    """As on a device: what comes out without an error is taken if it is what was signed."""
    noise = random.Random(15)
    mutants = [mutated(noise) for _ in range(MUTATIONS)]
    assert DAMAGED in agree(decoder, ((OLD, patch) for patch in mutants))
    for patch, made in zip(mutants, decoder.decode(Case(OLD, patch) for patch in mutants), strict=True):
        assert made.error or made.image == NEW or sha256(made.image).digest() != header.parse(patch).target_sha256


@pytest.mark.parametrize(("end", "error"), [(1, CONNECT), (2, FLASH), (3, SPACE)])
def test_an_end_that_breaks_ends_it(decoder: PatchDecoder, end: int, error: int) -> None:
    calls = (1, 2, 3, 10)
    found = decoder.decode(Case(OLD, REAL, piece=16, broken=end, call=call) for call in calls)
    assert [made.error for made in found] == [error] * len(calls)
    assert all(NEW.startswith(made.image) and len(made.image) < len(NEW) for made in found)


@pytest.mark.parametrize("digits", ["", "0", "5dc5cde622fa6d63daa9508f6d4d1ba", "5DC5CDE622FA6D63DAA9508F6D4D1BAA"])
def test_the_base_is_known_by_all_of_its_md5(decoder: PatchDecoder, digits: str) -> None:
    own = md5(BASE, usedforsecurity=False).hexdigest()
    assert decoder.decode([Case(BASE, PATCH, md5=own)]) == [Made(NONE, TARGET)]
    assert decoder.decode([Case(BASE, PATCH, md5=digits)]) == [Made(WRONG_BASE, b"")]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clang = peers.tool("clang++", "clang and libclang-rt-14-dev")
    program = tmp_path_factory.mktemp("fuzzer") / "patches"
    sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    run_compiler([clang, "-std=c++17", "-O1", "-g1", *sanitizers, f"-I{LIBRARY}", "-o", program, FUZZER, *SOURCES])
    return program


def test_no_input_breaks_the_decoder(fuzzer: Path, decoder: PatchDecoder, tmp_path: Path) -> None:
    """What libFuzzer finds on its way is what the two decoders have to agree on, too."""
    corpus, base = tmp_path / "corpus", tmp_path / "base"
    corpus.mkdir()
    base.write_bytes(OLD)
    noise = random.Random(3)
    for number, seed in enumerate([REAL, make(OLD, NEW[::-1]), *(mutated(noise) for _ in range(20))]):
        (corpus / str(number)).write_bytes(seed)
    fuzz(fuzzer, corpus, RUNS, SECONDS, OTASEAL_BASE=str(base), OTASEAL_BASE_MD5=header.md5(OLD).hex())
    agree(decoder, ((OLD, path.read_bytes()) for path in sorted(corpus.iterdir())))
