"""The device library's parsers under libFuzzer with sanitizers, for a bounded time, from seeds that are made here."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import gzip_payload, manifest
from support import cas, peers
from support.firmware import CORE_SOURCES, HOST, LIBRARY, OWN, WARNINGS, flags, pack, run_compiler, write_header
from support.fuzzing import fuzz
from support.images import build_image

pytestmark = pytest.mark.proof

SOURCE = Path(__file__).with_name("fuzz") / "parsers.cpp"
PARSERS = ("archive", "files", "manifest", "persistent_state")
RUNS = 3_000_000 if os.environ.get("OTASEAL_THOROUGH") else 150_000
SECONDS = 600 if os.environ.get("OTASEAL_THOROUGH") else 40
ARCHIVE, MANIFEST, JOURNAL = range(3)


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey) -> Path:
    clang = peers.tool("clang++", "clang and libclang-rt-14-dev")
    peers.require("bearssl", Path("/usr/include/bearssl.h").exists(), "libbearssl-dev")
    folder = tmp_path_factory.mktemp("fuzzer")
    write_header(folder, rsa_key.public_key())
    program = folder / "parsers"
    library = [LIBRARY / "otaseal" / f"{name}.cpp" for name in PARSERS]
    sources = [
        SOURCE,
        *library,
        HOST / "disk.cpp",
        *(HOST / f"{name}.cpp" for name in ("chip", "clock", "esp8266")),
        *CORE_SOURCES,
    ]
    sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    options = [flag for flag in flags(folder) if flag not in WARNINGS]  # those are of another compiler
    wrapped = "-Wl,--wrap=br_x509_decoder_push"
    run_compiler([clang, *options, "-O1", "-g1", *sanitizers, wrapped, "-o", program, *sources, "-lbearssl"])
    return program


def journal() -> bytes:
    body = b"OSJ1" + struct.pack("<IIB", 1_700_000_000, 1_600_000_000, 2) + bytes(range(24))
    return body + hashlib.sha256(body).digest()[:4]


def seeds() -> list[bytes]:
    raw = build_image(code_size=1000)
    claim = manifest.make(OWN)
    payloads = [manifest.attach(raw, claim), manifest.attach(gzip_payload.compress(raw), claim)]
    archives = [pack(cas.root()), pack(cas.root(), cas.root("Another authority of the tests, long enough"))]
    inputs = [(ARCHIVE, one) for one in archives] + [(MANIFEST, one) for one in payloads] + [(JOURNAL, journal())]
    return [bytes([parser, 15]) + data for parser, data in inputs]


def test_no_input_breaks_a_parser(fuzzer: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for index, seed in enumerate(seeds()):
        (corpus / str(index)).write_bytes(seed)
    fuzz(fuzzer, corpus, RUNS, SECONDS)
