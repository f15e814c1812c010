"""Archives of all kinds, with our verdict and the device's on each, and the C judge that is asked for the latter."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from otaseal.certs import certstore
from otaseal.certs.pem import Source, children
from support import cas, peers
from support.cas import NOW

NAME = "Workshop of Blinking Things CA"
OTHER = "Another Workshop of Things CA"
DAY = timedelta(days=1)
MAGIC = b"!<arch>\n"


@dataclass(frozen=True)
class Judged:
    """What `certstore.c` printed: verdicts, which member a lookup arrives at, key hashes, and the chain's end."""

    verdicts: list[str]
    first: list[int]
    keys: list[str]
    chain: str


def device(folder: Path, data: bytes, chain: tuple[bytes, ...] = ()) -> Judged:
    program = peers.compiled("certstore.c", "libbearssl-dev", "bearssl")
    (folder / "certs.ar").write_bytes(data)
    for index, der in enumerate(chain):
        (folder / f"chain{index}").write_bytes(der)
    command = [program, str(folder / "certs.ar")]
    if chain:
        command += [str(int(NOW.timestamp())), *[str(folder / f"chain{index}") for index in range(len(chain))]]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith("member ")]
    assert lines[0] == f"count {len(rows)}"
    return Judged(
        [row[2] for row in rows],
        [int(row[3]) for row in rows],
        [row[5] for row in rows],
        lines[-1].removeprefix("chain ") if chain else "",
    )


def raw(*members: bytes, name: bytes = b"ca/", size: bytes | None = None, end: bytes = b"`\n") -> bytes:
    """Return an archive with headers of any kind; `size` goes into the first of them."""
    data = MAGIC
    for index, body in enumerate(members):
        field = size if size is not None and index == 0 else str(len(body)).encode()
        data += name.ljust(16) + b"1700000000  1000  1000  100644  " + field.ljust(10) + end + body
        data += b"\n" * (len(data) & 1)
    return data


def gnu(*members: bytes, long: bool = False) -> bytes:
    """Return what GNU ar makes of the members, with times, owners and (`long`) a table of names."""
    import tempfile

    names = [f"our_ca_certificate_{index}.der" if long else f"ca{index}.der" for index in range(len(members))]
    with tempfile.TemporaryDirectory() as folder:
        for name, body in zip(names, members, strict=True):
            Path(folder, name).write_bytes(body)
        subprocess.run([peers.tool("ar", "binutils"), "qcU", "certs.ar", *names], cwd=folder, check=True)
        return Path(folder, "certs.ar").read_bytes()


def ours(*ders: bytes) -> bytes:
    sources = [Source(str(index), der) for index, der in enumerate(ders)]
    return certstore.pack(sources, NOW, certstore.Policy(expired="keep")).archive


def rsa_of(bits: int) -> Any:
    """Return an RSA public key of a size that would take long to make honestly: an anchor need not be one."""
    return rsa.RSAPublicNumbers(65537, (1 << bits) - 159).public_key()


def extended(*extensions: x509.ExtensionType) -> bytes:
    return cas.root(extensions=(cas.CA, *((extension, True) for extension in extensions)))


def compressed() -> bytes:
    key = cas.key("P-256").public_key()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return cas.with_spki(cas.root(), cas.tlv(0x30, spki[2:23] + cas.tlv(3, b"\0" + point)))


def pss() -> bytes:
    """Return a CA whose key is for RSASSA-PSS only (RFC 4055): another OID, and no parameters."""
    key = cas.key("RSA-2048").public_key()
    bits = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    oid = bytes.fromhex("06092a864886f70d01010a")
    return cas.with_spki(cas.root(kind="RSA-2048"), cas.tlv(0x30, cas.tlv(0x30, oid) + cas.tlv(3, b"\0" + bits)))


def partial_byte() -> bytes:
    """Return a CA whose signature claims to end in an unused bit, which parsers other than BearSSL's let pass."""
    der = cas.root()
    at = len(der) - len(children(children(der)[0][1])[2][1])
    return der[:at] + b"\1" + der[at + 1 : -1] + bytes([der[-1] & 0xFE])


def private_key() -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return cas.key("P-256").private_bytes(encoding, form, serialization.NoEncryption())


def old() -> bytes:
    return cas.root(valid=(NOW - 9 * DAY, NOW - DAY))


def long_lived() -> bytes:
    return cas.root(valid=(datetime(2049, 12, 31, tzinfo=timezone.utc), datetime(2075, 1, 1, tzinfo=timezone.utc)))


def issued(bits: int) -> bytes:
    return cas.issue(NAME, rsa_of(bits), (NAME, cas.key("P-256")))


def constrained() -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName("home.arpa")], None)


RSA, P256, P384, P521 = "RSA-2048", "P-256", "P-384", "P-521"
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")

# An archive, the rules that our check says are broken, the device's verdict on each member, and what becomes of a
# server whose certificate the CA called NAME issued with its P-256 key (None where that CA has another key: those have
# a test of their own).
CASES: dict[str, tuple[Callable[[], bytes], set[str], list[str], str | None]] = {
    # what works
    "p-256": (lambda: ours(cas.root()), set(), ["anchor"], "ok"),
    "p-384": (lambda: ours(cas.root(kind=P384)), set(), ["anchor"], None),
    "p-521": (lambda: ours(cas.root(kind=P521)), set(), ["anchor"], None),
    "rsa-2048": (lambda: ours(cas.root(kind=RSA)), set(), ["anchor"], None),
    "rsa-4096": (lambda: ours(issued(4096)), set(), ["anchor"], None),
    "several": (
        lambda: ours(cas.root(), cas.root(OTHER, RSA), cas.root("CA number three of them")),
        set(),
        3 * ["anchor"],
        "ok",
    ),
    "dn of 32 bytes": (lambda: ours(cas.root("Exactly 19 letters.")), set(), ["anchor"], "error 62"),
    "not in utf-8": (lambda: ours(cas.root("Werkstatt für blinkende Dinge")), set(), ["anchor"], "error 62"),
    "expired": (lambda: ours(old()), {"expired"}, ["anchor"], "ok"),
    "not yet valid": (lambda: ours(long_lived()), {"not-yet-valid"}, ["anchor"], "ok"),
    "name constraints": (lambda: ours(extended(constrained())), {"name-constraints"}, ["anchor"], "ok"),
    "for clients": (
        lambda: ours(extended(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))),
        {"not-for-servers"},
        ["anchor"],
        "ok",
    ),
    "no cert sign": (lambda: ours(extended(x509.KeyUsage(True, *[False] * 8))), {"no-cert-sign"}, ["anchor"], "ok"),
    "unknown critical": (lambda: ours(extended(UNKNOWN)), set(), ["anchor"], "ok"),
    "path length 0": (
        lambda: ours(cas.root(extensions=((x509.BasicConstraints(True, 0), True),))),
        set(),
        ["anchor"],
        "ok",
    ),
    "constraints not critical": (
        lambda: ours(cas.root(extensions=((x509.BasicConstraints(True, None), False),))),
        set(),
        ["anchor"],
        "ok",
    ),
    "large": (
        lambda: ours(extended(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(5000)))),
        {"large"},
        ["anchor"],
        "ok",
    ),
    "gnu ar": (lambda: gnu(cas.root(), cas.root(OTHER)), set(), ["anchor", "anchor"], "ok"),
    "gnu long names": (lambda: gnu(cas.root(), cas.root(OTHER), long=True), {"long-names"}, ["anchor", "anchor"], "ok"),
    "no header end": (lambda: raw(cas.root(), end=b"xx"), set(), ["anchor"], "ok"),
    "no name": (lambda: raw(cas.root(), name=b""), set(), ["anchor"], "ok"),
    "signed size": (lambda: raw(cas.root(), size=b" +%d" % len(cas.root())), set(), ["anchor"], "ok"),
    "size with a tail": (lambda: raw(cas.root(), size=b"%dx" % len(cas.root())), set(), ["anchor"], "ok"),
    "same key twice": (lambda: raw(cas.root(), old()), {"duplicate", "expired"}, ["anchor", "anchor"], "ok"),
    # what a device counts and never finds
    "pem": (lambda: raw(cas.pem(cas.root())), {"not-der"}, ["dead"], "error 62"),
    "pem before der": (lambda: raw(cas.pem(cas.root()), cas.root()), {"not-der"}, ["dead", "anchor"], "ok"),
    "text": (lambda: raw(b"certificates go here\n", cas.root()), {"not-der"}, ["dead", "anchor"], "ok"),
    "bsd name": (lambda: raw(b"our_ca_cert_long.der" + cas.root(), name=b"#1/20"), {"not-der"}, ["dead"], "error 62"),
    "symbol table": (lambda: raw(b"\0\0\0\0", cas.root(), name=b"/"), {"not-der"}, ["dead", "anchor"], "ok"),
    "private key": (lambda: raw(private_key()), {"private-key"}, ["dead"], "error 62"),
    "torn early": (lambda: raw(cas.root()[:60]), {"truncated"}, ["dead"], "error 62"),
    "an empty sequence": (lambda: raw(b"\x30\x00"), {"malformed"}, ["dead"], "error 62"),
    # what crashes a device once a server names the CA
    "trailing byte": (lambda: raw(cas.root() + b"\0"), {"trailing-bytes"}, ["crash"], "crash 0"),
    "trailing newline": (
        lambda: raw(cas.root() + b"\n", cas.root(OTHER)),
        {"trailing-bytes"},
        ["crash", "anchor"],
        "crash 0",
    ),
    "two in one": (lambda: raw(cas.root() + cas.root(OTHER)), {"trailing-bytes"}, ["crash"], "crash 0"),
    "truncated": (lambda: raw(cas.root()[:-1]), {"truncated"}, ["crash"], "crash 0"),
    "half": (lambda: raw(cas.root()[:220]), {"truncated"}, ["crash"], "crash 0"),
    "truncated, then whole": (lambda: raw(cas.root()[:-1], cas.root()), {"truncated"}, ["crash", "anchor"], "crash 0"),
    "ed25519": (lambda: raw(cas.root(kind="Ed25519")), {"key-type"}, ["crash"], "crash 0"),
    "ed448": (lambda: raw(cas.root(kind="Ed448")), {"key-type"}, ["crash"], "crash 0"),
    "secp256k1": (lambda: raw(cas.root(kind="secp256k1")), {"key-type"}, ["crash"], "crash 0"),
    "rsa-pss": (lambda: raw(pss()), {"key-type"}, ["crash"], "crash 0"),
    "partial byte": (lambda: raw(partial_byte()), {"malformed"}, ["crash"], "crash 0"),
    "rsa-8192": (lambda: raw(issued(8192)), {"key-size"}, ["crash"], "crash 0"),
    "dn of 31 bytes": (lambda: raw(cas.root("Not 19 letters 123")), {"short-dn"}, ["overflow"], "error 62"),
    "short dn": (lambda: raw(cas.root("ca")), {"short-dn"}, ["overflow"], "error 62"),
    # what decodes, and is not a CA to a device or to us
    "rsa-1024": (lambda: raw(cas.root(kind="RSA-1024")), {"key-size"}, ["anchor"], None),
    "compressed point": (lambda: raw(compressed()), {"key-type"}, ["anchor"], "error 62"),
    "not a ca": (
        lambda: raw(cas.root(extensions=((x509.BasicConstraints(False, None), True),))),
        {"not-ca"},
        ["pin"],
        "error 62",
    ),
    "no extensions": (lambda: raw(cas.root(extensions=())), {"not-ca"}, ["pin"], "error 62"),
    "version 1": (lambda: raw(cas.version_1(cas.root())), {"not-ca"}, ["pin"], "error 62"),
    "shadowed": (lambda: raw(cas.root(index=1), cas.root()), {"shadowed"}, ["anchor", "anchor"], "error 62"),
    "shadowing": (lambda: raw(cas.root(), cas.root(index=1)), {"shadowed"}, ["anchor", "anchor"], "ok"),
    # where the scan ends before its time
    "size 0 first": (lambda: raw(b"", cas.root()), {"unreadable"}, [], "error 62"),
    "size 0 between": (lambda: raw(cas.root(OTHER), b"", cas.root()), {"unreadable"}, ["anchor"], "error 62"),
    "negative size": (lambda: raw(cas.root(), size=b"-1"), {"unreadable"}, [], "error 62"),
    "no number": (lambda: raw(cas.root(), size=b"0x1f4"), {"unreadable"}, [], "error 62"),
    "no digits": (lambda: raw(cas.root(), size=b"many"), {"unreadable"}, [], "error 62"),
    "size beyond the end": (lambda: raw(cas.root(), size=b"99999"), {"unreadable"}, [], "error 62"),
    "size of 10 digits": (lambda: raw(cas.root(), size=b"9999999999"), {"unreadable"}, [], "error 62"),
    "cut in the last member": (lambda: ours(cas.root())[:-9], {"unreadable"}, [], "error 62"),
    "cut in a header": (lambda: ours(cas.root()) + b"ca2/  ", {"unreadable"}, ["anchor"], "ok"),
    "thin": (lambda: b"!<thin>\n" + ours(cas.root())[8:], {"unreadable"}, [], "error 62"),
    "no magic": (lambda: cas.root(), {"unreadable"}, [], "error 62"),
    "nothing": (lambda: b"", {"unreadable"}, [], "error 62"),
    "no member": (lambda: MAGIC, {"empty"}, [], "error 62"),
    "a table of names only": (
        lambda: raw(b"our_ca_certificate.der/\n", name=b"//"),
        {"empty", "long-names"},
        [],
        "error 62",
    ),
}
