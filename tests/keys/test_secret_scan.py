"""The leak check: a private key's numbers are found however they are written, and nothing else is.

What hides the numbers is made by others where there is one: openssl, the compiler, littlefs-python, gzip.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from littlefs import LittleFS

from otaseal.errors import KeyRefusedError
from otaseal.keys import secret_scan
from otaseal.keys.secret_scan import Secrets
from support import peers
from support.filesystem import BLOCK_SIZE

RSA_NUMBERS = ("d", "p", "q", "dmp1", "dmq1", "iqmp")
NOISE = random.Random(9).randbytes(40_000)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def secrets() -> Secrets:
    return Secrets.of({"signing key": rsa_key(), "device key": ec_key()})


def big(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def number(name: str) -> bytes:
    if name == "private_value":
        return big(ec_key().private_numbers().private_value)
    return big(getattr(rsa_key().private_numbers(), name))


def der_integer(value: bytes) -> bytes:
    content = b"\0" + value if value[0] & 0x80 else value
    size = len(content)
    head = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return b"\x02" + head + content


def wrapped(data: bytes, width: int, end: str) -> bytes:
    return "".join(line + end for line in textwrap.wrap(base64.b64encode(data).decode(), width)).encode()


def c_array(value: bytes, form: str = "0x{:02x}") -> bytes:
    return b"const uint8_t key[] = {\n  " + b",\n  ".join(
        ", ".join(form.format(byte) for byte in value[at : at + 12]).encode() for at in range(0, len(value), 12)
    )


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "little-endian": lambda value: value[::-1],
    "DER": der_integer,
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "hex with colons and lines": lambda value: textwrap.fill(value.hex(":"), 45).replace("\n", "\n    ").encode(),
    "hex with spaces": lambda value: value.hex(" ").encode(),
    "C array": c_array,
    "C array, 0X and U": lambda value: c_array(value, "0X{:02X}U"),
    "C string": lambda value: "".join(f"\\x{byte:02x}" for byte in value).encode(),
    "hex in UTF-16": lambda value: value.hex().encode("utf-16-le"),
    "base64": base64.b64encode,
    "base64, aligned by one": lambda value: base64.b64encode(b"x" + value),
    "base64, aligned by two": lambda value: base64.b64encode(b"xy" + value),
    "base64 of DER, in lines of 64": lambda value: wrapped(der_integer(value), 64, "\n"),
    "base64 of DER, in lines of 76, CRLF": lambda value: wrapped(der_integer(value), 76, "\r\n"),
    "base64 with written line ends": lambda value: b'"' + wrapped(value, 64, "\\n") + b'"',
    "base64 with written CRLFs in quotes": lambda value: b'"' + wrapped(value, 64, '\\r\\n"\n  "') + b'"',
    "base64, URL-safe, as in a JWK": lambda value: base64.urlsafe_b64encode(value).rstrip(b"="),
    "base64 in UTF-16": lambda value: base64.b64encode(value).decode().encode("utf-16-be"),
    "base64 of a little-endian one in gzip": lambda value: gzip.compress(base64.b64encode(b"." + value)),
}
PLACEMENTS = [(name, encoding) for name in (*RSA_NUMBERS, "private_value") for encoding in ENCODINGS]
assert len(PLACEMENTS) >= 40


@pytest.mark.parametrize(("name", "encoding"), PLACEMENTS)
def test_every_number_is_found_in_every_encoding_at_every_place(name: str, encoding: str) -> None:
    text = ENCODINGS[encoding](number(name))
    for at in (0, 17_001, len(NOISE)):
        haystack = NOISE[:at] + text + NOISE[at:]
        found = secret_scan.find(haystack, secrets())
        assert {leak.number for leak in found} == {name}
        assert {leak.owner for leak in found} == {"device key" if name == "private_value" else "signing key"}
        assert all(at <= leak.offset < at + len(text) for leak in found)
        assert {leak.member for leak in found} == {"gzip" in encoding}
    assert secret_scan.find(NOISE, secrets()) == []


def test_der_integers_are_called_so() -> None:
    for name in RSA_NUMBERS:
        assert [leak.encoding for leak in secret_scan.find(b"x" + der_integer(number(name)), secrets())] == [
            "a DER INTEGER"
        ]
        assert [leak.encoding for leak in secret_scan.find(b"x" + number(name), secrets())] == ["raw bytes, big-endian"]


@given(st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(PLACEMENTS))
def test_whatever_stands_around_a_number_it_is_found(before: bytes, after: bytes, placement: tuple[str, str]) -> None:
    name, encoding = placement
    text = ENCODINGS[encoding](number(name))
    assert name in {leak.number for leak in secret_scan.find(before + text + after, secrets())}


@given(st.binary(max_size=2000))
def test_any_other_bytes_hold_nothing(data: bytes) -> None:
    assert secret_scan.find(data, secrets()) == []


def pem(form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return rsa_key().private_bytes(Encoding.PEM, form, NoEncryption())


def openssl(*arguments: str, stdin: bytes) -> bytes:
    command = [peers.tool("openssl", "openssl"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def as_javascript(text: bytes) -> bytes:
    return " +\n  ".join(json.dumps(line + "\n") for line in text.decode().splitlines()).encode()


def as_jwk() -> bytes:
    values = {name: base64.urlsafe_b64encode(number(name)).rstrip(b"=").decode() for name in RSA_NUMBERS}
    return json.dumps({"kty": "RSA", **values}).encode()


WHOLE_KEYS: dict[str, Callable[[], bytes]] = {
    "PKCS#8": pem,
    "PKCS#1": lambda: pem(PrivateFormat.TraditionalOpenSSL),
    "CRLF": lambda: pem().replace(b"\n", b"\r\n"),
    "PKCS#8 in DER": lambda: openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", stdin=pem()),
    "PKCS#1 in DER": lambda: openssl("rsa", "-traditional", "-outform", "DER", stdin=pem()),
    "as text by openssl": lambda: openssl("rsa", "-noout", "-text", stdin=pem()),
    "JSON": lambda: json.dumps({"key": pem().decode()}).encode(),
    "JSON in JSON": lambda: json.dumps(json.dumps({"key": pem().decode()})).encode(),
    "JavaScript": lambda: as_javascript(pem()),
    "JWK": as_jwk,
    "UTF-16": lambda: pem().decode().encode("utf-16"),
    "indented": lambda: textwrap.indent(pem().decode(), "\t    ").encode(),
    "gzip": lambda: gzip.compress(pem()),
    "gzip, cut short": lambda: gzip.compress(pem() + NOISE)[:-20_000],
}


@pytest.mark.parametrize("form", WHOLE_KEYS)
def test_a_whole_key_is_found(form: str) -> None:
    found = {leak.number for leak in secret_scan.find(NOISE + WHOLE_KEYS[form]() + NOISE, secrets())}
    assert found == set(RSA_NUMBERS)


def test_an_encrypted_key_and_the_public_half_are_no_leak() -> None:
    locked = openssl("pkcs8", "-topk8", "-passout", "pass:x", stdin=pem())
    public = openssl("rsa", "-pubout", stdin=pem()) + openssl("rsa", "-pubout", "-outform", "DER", stdin=pem())
    text = openssl("rsa", "-pubin", "-noout", "-text", stdin=openssl("rsa", "-pubout", stdin=pem()))
    marker = b"-----BEGIN PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n"
    assert secret_scan.find(locked + public + text + marker, secrets()) == []


C_SOURCES = {
    "a string": lambda: (
        "const char key[] = " + "\n".join(json.dumps(x + "\n") for x in pem().decode().splitlines()) + ";"
    ),
    "a raw string": lambda: 'const char key[] = R"EOF(' + pem().decode() + ')EOF";',
    "an array": lambda: c_array(number("d")).decode() + "};",
    "a wide string": lambda: 'const char16_t key[] = uR"EOF(' + pem().decode() + ')EOF";',
}


@pytest.mark.parametrize("form", C_SOURCES)
def test_what_a_compiler_makes_of_it_is_found(form: str, tmp_path: Path) -> None:
    source, output = tmp_path / "key.cpp", tmp_path / "key.o"
    source.write_text(f"#include <stdint.h>\nextern {C_SOURCES[form]()}")
    command = [peers.tool("c++", "g++"), "-g", "-c", str(source), "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    assert secret_scan.find(output.read_bytes(), secrets())
    assert secret_scan.find(source.read_bytes(), secrets())


def littlefs_with(name: str, content: bytes) -> bytes:
    filesystem = LittleFS(block_size=BLOCK_SIZE, block_count=32, disk_version=0x00020000)
    with filesystem.open(name, "wb") as file:
        file.write(content)
    return bytes(filesystem.context.buffer)


@pytest.mark.parametrize("before", [0, 6000, 7000, 7500, 8000, 8192, 15_000])
def test_a_key_across_the_blocks_of_a_filesystem_is_found(before: int) -> None:
    for content in (pem(), WHOLE_KEYS["PKCS#1 in DER"]()):
        image = littlefs_with("settings.bin", NOISE[:before] + content)
        assert secret_scan.find(image, secrets())
    assert secret_scan.find(littlefs_with("page.html.gz", gzip.compress(b"<html>" + pem())), secrets())
    assert secret_scan.find(littlefs_with("noise", NOISE[:before]), secrets()) == []


def test_gzip_members_are_unpacked_within_limits() -> None:
    key = gzip.compress(pem())
    many = NOISE + gzip.compress(b"harmless") * 5 + key
    found = secret_scan.find(many, secrets())
    assert {leak.offset for leak in found} == {len(many) - len(key)}
    assert "inside the gzip that begins there" in str(found[0])
    bomb = gzip.compress(bytes(secret_scan.MAX_UNPACKED + 1_000_000) + pem())
    start = time.process_time()
    assert secret_scan.find(bomb * 40, secrets()) == []
    assert secret_scan.find(b"\x1f\x8b\x08" * 100_000, secrets()) == []
    assert time.process_time() - start < 5


def test_a_finding_is_an_error_that_says_where_and_not_what() -> None:
    data = NOISE + pem() + NOISE
    with pytest.raises(
        KeyRefusedError, match=r"'firmware\.bin' contains a private key: number 'd' of the signing key"
    ) as e:
        secret_scan.refuse("firmware.bin", data, secrets())
    said = f"{e.value.message} {e.value.hint} {secrets()!r} {secret_scan.find(data, secrets())!r}"
    assert secret_scan.find(said.encode(), secrets()) == []
    assert pem().splitlines()[5].decode() not in said
    assert f"at offset {secret_scan.find(data, secrets())[0].offset}" in said
    secret_scan.refuse("firmware.bin", NOISE, secrets())


def test_without_secrets_nothing_is_found() -> None:
    assert not Secrets()
    assert secret_scan.find(pem(), Secrets()) == []
    assert secrets()


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_keys_of_every_size(bits: int, rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> None:
    key = rsa_keys(bits)
    mine = Secrets.of({"signing key": key})
    data = NOISE + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert {leak.number for leak in secret_scan.find(data, mine)} == set(RSA_NUMBERS)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_ec_keys(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    mine = Secrets.of({"device key": key})
    for encoding in (Encoding.PEM, Encoding.DER):
        data = NOISE + key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
        assert {leak.number for leak in secret_scan.find(data, mine)} == {"private_value"}


LIBRARIES = [
    "crypto",
    "ssl",
    "bearssl",
    "mbedcrypto",
    "mbedtls",
    "mbedx509",
    "gnutls",
    "c",
    "stdc++",
    "z",
    "m",
    "pthread",
]


def binaries() -> Iterator[Path]:
    """Yield real binaries and bundles of this machine: libraries for TLS, extension modules, programs, certificates."""
    folders = [Path("/usr/lib"), Path("/lib"), *Path("/usr/lib").glob("*-linux-gnu*")]
    for folder in folders:
        for name in LIBRARIES:
            yield from (folder / f"lib{name}{suffix}" for suffix in (".a", ".so", ".so.3", ".so.1", ".so.6", ".so.30"))
    yield Path(sys.executable).resolve()
    yield from sorted(Path(sysconfig.get_path("stdlib"), "lib-dynload").glob("*.so"))[:30]
    yield from sorted(Path(sysconfig.get_path("platlib"), "cryptography").rglob("*.so"))
    yield Path(certifi.where())
    yield from (Path(f"/usr/bin/{name}") for name in ("openssl", "git", "curl", "gcc", "ssh", "bash"))


@cache
def real_files() -> dict[Path, bytes]:
    found = {path.resolve() for path in binaries() if path.is_file()}
    return {path: path.read_bytes() for path in sorted(found) if 1000 < path.stat().st_size < 12_000_000}


@pytest.mark.proof
def test_no_false_alarm_on_real_binaries_and_none_hides_a_key() -> None:
    peers.require("20 libraries and programs", len(real_files()) >= 20, "libssl-dev")
    for path, content in real_files().items():
        assert secret_scan.find(content, secrets()) == [], path
    for content in list(real_files().values())[::4]:
        middle = len(content) // 2
        assert secret_scan.find(content[:middle] + pem() + content[middle:], secrets())


def test_a_build_pays_less_than_a_tenth_of_a_second() -> None:
    peers.require("20 libraries and programs", len(real_files()) >= 20, "libssl-dev")
    material = io.BytesIO(b"".join(real_files().values()))
    build = [material.read(size) for size in (450_000, 1_000_000, 5_000_000)]
    assert len(build[-1]) == 5_000_000
    spent = []
    for _ in range(5):
        start = time.process_time()
        assert not any(secret_scan.find(part, secrets()) for part in build)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1
