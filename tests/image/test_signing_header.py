"""The generated header, read by a real compiler: what the core's `strlen_P` and parser will find in flash (F5)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image.signing_header import embedded_key, render
from otaseal.keys.public import public_pem
from support import peers

PGMSPACE = '#define PROGMEM __attribute__((section(".rodata.progmem")))\n'
USER = """\
#include <stdio.h>
#include <string.h>
#include <Updater_Signing.h>
#ifndef ARDUINO_SIGNING
#error no switch
#endif
#if ARDUINO_SIGNING != 1
#error not on
#endif
int main() { printf("%zu %zu\\n%s", strlen(signing_pubkey), sizeof signing_pubkey, signing_pubkey); }
"""
NAMES = {"g++": "main.cpp", "cc": "main.c"}


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.parametrize("compiler", NAMES)
def test_a_compiler_reads_the_very_key(
    tmp_path: Path, compiler: str, bits: int, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    key = rsa_keys(bits).public_key()
    (tmp_path / "Updater_Signing.h").write_text(render(key))
    (tmp_path / "pgmspace.h").write_text(PGMSPACE)
    source, program = tmp_path / NAMES[compiler], tmp_path / "program"
    source.write_text(USER)
    command = [peers.tool(compiler, "g++"), "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path)]
    subprocess.run([*command, "-o", str(program), str(source)], check=True)
    sizes, pem = subprocess.run([str(program)], capture_output=True, check=True).stdout.split(b"\n", 1)
    assert pem == public_pem(key)
    assert sizes.split() == [str(len(pem)).encode(), str(len(pem) + 1).encode()]
    assert embedded_key(key) in program.read_bytes()


def test_openssl_reads_what_is_embedded(rsa_key: rsa.RSAPrivateKey) -> None:
    embedded = embedded_key(rsa_key.public_key())
    assert embedded.endswith(b"\0")
    assert b"\0" not in embedded[:-1]
    command = [peers.tool("openssl", "openssl"), "pkey", "-pubin"]
    assert subprocess.run(command, input=embedded[:-1], capture_output=True, check=True).stdout == embedded[:-1]


def test_the_text_depends_on_the_key_alone(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    assert render(rsa_key.public_key()) == render(rsa_key.public_key())
    assert render(rsa_key.public_key()) != render(other_rsa_key.public_key())
    assert render(rsa_key.public_key()).isascii()
