"""The generated OtaSealBuild.h, as a compiler reads it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import InputError
from otaseal.image import build_header, manifest
from otaseal.image.manifest import Claim
from otaseal.keys.public import public_pem
from support.peers import tool

CLAIM = Claim("blink", "d1_mini", "1.2.3", 7, 1_700_000_000)
PRINT = """\
#include "OtaSealBuild.h"
#include <cstdio>
#include <cstdint>
static const uint8_t identity[64] = OTASEAL_IDENTITY;
static const char texts[] = OTASEAL_PRODUCT "\\0" OTASEAL_BOARD "\\0" OTASEAL_VERSION "\\0" OTASEAL_KEY;
int main() {
  fwrite(identity, 1, sizeof identity, stdout);
  fwrite(texts, 1, sizeof texts, stdout);
  static_assert(OTASEAL_SECURITY_COUNTER <= 0xffffffffu, "");
#ifdef OTASEAL_NEXT_KEY
  fwrite(OTASEAL_NEXT_KEY, 1, sizeof OTASEAL_NEXT_KEY, stdout);
#endif
#ifdef OTASEAL_BUILD_TIME
  printf("%u %u", OTASEAL_SECURITY_COUNTER, OTASEAL_BUILD_TIME);
#endif
}
"""


def compiled(folder: Path, header: str) -> bytes:
    (folder / "OtaSealBuild.h").write_text(header)
    (folder / "print.cpp").write_text(PRINT)
    command = [tool("c++", "g++"), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", "print", "print.cpp"]
    subprocess.run(command, cwd=folder, check=True)
    return subprocess.run([folder / "print"], capture_output=True, check=True).stdout


def test_a_compiler_reads_what_was_meant(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    claim = replace(CLAIM, board='d1 "mini" \\ 7?\x01', version="1.0??/1", counter=2**32 - 1)
    own, following = public_pem(rsa_key.public_key()), public_pem(other_rsa_key.public_key())
    identity = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    texts = b"\0".join([claim.product.encode(), claim.board.encode(), claim.version.encode(), own]) + b"\0"
    header = build_header.render(claim, rsa_key.public_key(), other_rsa_key.public_key())
    assert compiled(tmp_path, header) == identity + texts + following + b"\0" + b"4294967295 1700000000"
    alone = build_header.render(replace(claim, build_time=0), rsa_key.public_key())
    unknown = manifest.serialise(manifest.make(replace(claim, build_time=0)), manifest.IDENTITY_MAGIC)
    assert compiled(tmp_path, alone) == unknown + texts


def test_the_same_build_gives_the_same_header(rsa_key: rsa.RSAPrivateKey) -> None:
    key = rsa_key.public_key()
    assert build_header.render(CLAIM, key) == build_header.render(replace(CLAIM), key)
    changed = [replace(CLAIM, product="b"), replace(CLAIM, board="b"), replace(CLAIM, version="b")]
    changed += [replace(CLAIM, counter=8), replace(CLAIM, build_time=1)]
    assert len({build_header.render(one, key) for one in [CLAIM, *changed]}) == 6


def test_what_no_manifest_holds_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InputError, match="security counter"):
        build_header.render(replace(CLAIM, counter=2**32), rsa_key.public_key())
