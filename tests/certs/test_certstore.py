"""Which certificates become anchors: the rules F16 to F20 by name, and private keys that never get in."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from otaseal.certs import ar as archive
from otaseal.certs import certstore
from otaseal.certs.anchors import SOON, Severity
from otaseal.certs.certstore import Policy
from otaseal.certs.pem import BLOCK_LIMIT, BUNDLE, Source
from otaseal.errors import InputError, KeyRefusedError, OtasealError
from support import cas, peers
from support.cas import NOW

BUNDLE_OF_MOZILLA = Path(certifi.where()).read_bytes()
DAY = timedelta(days=1)
NAME = "Workshop of Blinking Things CA"
Make = Callable[[], bytes]


def pack(*files: bytes, **policy: Any) -> certstore.Packed:
    return certstore.pack([Source(f"{n}.pem", data) for n, data in enumerate(files)], NOW, Policy(**policy))


def judge(*files: bytes, **policy: Any) -> certstore.Report:
    return certstore.judge([Source(f"{n}.pem", data) for n, data in enumerate(files)], NOW, Policy(**policy))


def said(findings: tuple[Any, ...]) -> list[tuple[str, str, str]]:
    return [(finding.rule, finding.code, finding.severity.value) for finding in findings]


def bundle(*more: bytes) -> bytes:
    """Return a PEM bundle: enough good roots that it counts as one, and `more`."""
    good = [cas.root(f"Root number {n} of a public bundle", index=n) for n in range(BUNDLE)]
    return b"".join(b"# a comment\n" + cas.pem(der) for der in (*good, *more))


def test_der_and_pem_give_the_same_archive() -> None:
    packed = pack(cas.root())
    assert packed.archive == pack(cas.pem(cas.root())).archive
    assert packed.archive == pack(b"subject=/CN=x\r\n" + cas.pem(cas.root()).replace(b"\n", b"\r\n")).archive
    assert packed.findings == ()
    assert [member.data for member in archive.device_view(packed.archive).indexed] == [cas.root()]


def test_mozillas_bundle_packs_in_any_order() -> None:
    now = NOW.replace(year=2026)
    blocks = [b"-----BEGIN" + rest for rest in BUNDLE_OF_MOZILLA.split(b"-----BEGIN")[1:]]
    packed = certstore.pack([Source("cacert.pem", BUNDLE_OF_MOZILLA)], now)
    assert len(packed.anchors) + len([f for f in packed.findings if f.severity is Severity.DROPPED]) == len(blocks)
    assert len(packed.anchors) > 100
    assert not certstore.check(packed.archive, now).errors
    for seed in range(3):
        random.Random(seed).shuffle(blocks)
        files = [Source(f"{n}.pem", block) for n, block in enumerate(blocks)]
        assert certstore.pack(files, now, Policy(unusable="drop")).archive == packed.archive


def test_anchors_stand_in_the_order_of_the_members() -> None:
    packed = pack(cas.root(), cas.root("Another Workshop of Things CA"))
    members = archive.device_view(packed.archive).indexed
    assert [(anchor.member_name, anchor.der) for anchor in packed.anchors] == [(m.name, m.data) for m in members]
    assert [member.name for member in members] == sorted(member.name for member in members)


def test_openssl_reads_each_extracted_member_as_we_describe_it(tmp_path: Path) -> None:
    openssl, ar = peers.tool("openssl", "openssl"), peers.tool("ar", "binutils")
    packed = pack(cas.root(), cas.root("RSA Workshop of Things CA", "RSA-2048"))
    (tmp_path / "certs.ar").write_bytes(packed.archive)
    subprocess.run([ar, "x", "certs.ar"], cwd=tmp_path, check=True)
    for anchor in packed.anchors:
        command = [openssl, "x509", "-inform", "DER", "-in", anchor.member_name, "-noout", "-fingerprint", "-sha256"]
        done = subprocess.run([*command, "-subject"], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert anchor.fingerprint in done.stdout.replace(":", "").lower()
        assert anchor.subject.removeprefix("CN=") in done.stdout


@pytest.mark.parametrize(
    ("make", "rule", "code"),
    [
        (lambda: cas.root("Short name of 31 b"), "F18", "short-dn"),
        (lambda: cas.root(kind="Ed25519"), "F19", "key-type"),
        (lambda: cas.root(kind="Ed448"), "F19", "key-type"),
        (lambda: cas.root(kind="secp256k1"), "F19", "key-type"),
        (lambda: cas.root(kind="RSA-1024"), "F18c", "key-size"),
        (lambda: cas.root(extensions=()), "F18c", "not-ca"),
        (lambda: cas.root(extensions=((x509.BasicConstraints(False, None), True),)), "F18c", "not-ca"),
        (lambda: cas.version_1(cas.root()), "F18c", "not-ca"),
        (lambda: cas.leaf(), "F18", "short-dn"),
        (lambda: cas.root() + b"\n", "F18b", "trailing-bytes"),
        (lambda: cas.root() + cas.root(), "F18b", "trailing-bytes"),
        (lambda: cas.root()[:-1], "F18b", "truncated"),
        (lambda: b"0\x03\x02\x01\x05", "F18b", "malformed"),
        (lambda: b"certificate\n", "F16", "not-der"),
        (lambda: b"", "F16", "not-der"),
    ],
)
def test_a_certificate_that_no_device_can_use_is_refused_by_rule(make: Make, rule: str, code: str) -> None:
    der = make()
    report = judge(der)
    assert said(report.findings) == [(rule, code, "error")]
    assert report.findings[0].hint
    with pytest.raises(InputError) as caught:
        pack(der)
    assert caught.value.message == f"'0.pem' cannot be packed: {report.findings[0].message}"
    assert caught.value.hint == report.findings[0].hint


def test_a_subject_of_32_bytes_is_long_enough() -> None:
    (anchor,) = pack(cas.root("Exactly 19 letters.")).anchors
    assert len(anchor.dn) == 32


def test_an_error_names_how_many_more_there_are() -> None:
    with pytest.raises(InputError, match="; 1 more certificates are refused"):
        pack(cas.root(kind="Ed25519"), cas.root(), cas.version_1(cas.root()))


def test_a_bundle_loses_what_no_device_can_use_and_says_so() -> None:
    bad = cas.root(kind="Ed25519")
    packed = pack(bundle(bad))
    assert said(packed.findings) == [("F19", "key-type", "dropped")]
    assert packed.findings[0].name == f"0.pem #{BUNDLE + 1}"
    assert len(packed.anchors) == BUNDLE
    with pytest.raises(InputError, match="Ed25519"):
        pack(bundle(bad), unusable="refuse")
    with pytest.raises(InputError, match="Ed25519"):
        pack(bundle(), bad)
    assert len(pack(cas.root(), bad, unusable="drop").anchors) == 1


def test_one_subject_with_two_keys_is_refused_because_a_device_finds_only_the_first() -> None:
    first, second = cas.root(), cas.root(index=1)
    assert said(judge(first, second).findings) == [("F17", "shadowed", "error")]
    assert said(judge(bundle(first, second)).findings) == [("F17", "shadowed", "dropped")]
    assert said(judge(bundle(first), second).findings) == [("F17", "shadowed", "error")]


def test_of_one_subject_with_one_key_the_certificate_that_lasts_is_packed() -> None:
    short = cas.root(valid=(NOW - 9 * DAY, NOW + 500 * DAY))
    long = cas.root(valid=(NOW - 9 * DAY, NOW + 900 * DAY))
    crossed = cas.issue(NAME, cas.key("P-256").public_key(), ("Some Other Root of Things CA", cas.key("P-384")))
    for files in ((short, long), (long, short)):
        packed = pack(*files)
        assert [anchor.der for anchor in packed.anchors] == [long]
        assert said(packed.findings) == [("F17", "duplicate", "dropped")]
    assert [anchor.der for anchor in pack(short, crossed).anchors] == [crossed]


def test_a_certificate_given_twice_is_packed_once() -> None:
    packed = pack(cas.root(), cas.pem(cas.root()))
    assert packed.archive == pack(cas.root()).archive
    assert said(packed.findings) == [("F17", "duplicate", "dropped")]


def test_an_expired_rival_makes_no_conflict() -> None:
    old = cas.root(index=1, valid=(NOW - 9 * DAY, NOW - DAY))
    packed = pack(old, cas.root())
    assert [anchor.der for anchor in packed.anchors] == [cas.root()]
    assert said(packed.findings) == [("F20", "expired", "dropped")]


def test_what_has_expired_is_dropped_kept_or_refused() -> None:
    old = cas.root("A root of days gone by", valid=(NOW - 9 * DAY, NOW - DAY))
    assert len(pack(old, cas.root()).anchors) == 1
    kept = pack(old, cas.root(), expired="keep")
    assert len(kept.anchors) == 2
    assert said(kept.findings) == [("F20", "expired", "warning")]
    with pytest.raises(InputError, match=r"expired on 2030-05-31"):
        pack(old, cas.root(), expired="refuse")
    with pytest.raises(InputError, match=r"no certificate is left to pack: .*expired on 2030-05-31"):
        pack(old)


@pytest.mark.parametrize(
    ("begin", "end", "codes"),
    [
        (-DAY, SOON - DAY, ["expires-soon"]),
        (-DAY, SOON, []),
        (-DAY, 0 * DAY, ["expires-soon"]),
        (DAY, 900 * DAY, ["not-yet-valid"]),
        (-DAY, timedelta(days=365 * 30), []),
    ],
)
def test_dates_that_deserve_a_warning(begin: timedelta, end: timedelta, codes: list[str]) -> None:
    packed = pack(cas.root(valid=(NOW + begin, NOW + end)))
    assert [(f.code, f.rule, f.severity) for f in packed.findings] == [(c, "F20", Severity.WARNING) for c in codes]


@pytest.mark.parametrize(
    ("extension", "code"),
    [
        (x509.NameConstraints([x509.DNSName("home.arpa")], None), "name-constraints"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), "not-for-servers"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), None),
        (x509.KeyUsage(True, *[False] * 8), "no-cert-sign"),
        (x509.KeyUsage(*[False] * 5, True, *[False] * 3), None),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(5000)), "large"),
    ],
)
def test_what_a_device_ignores_in_an_anchor_is_a_warning(extension: x509.ExtensionType, code: str | None) -> None:
    packed = pack(cas.root(extensions=(cas.CA, (extension, True))))
    assert [(f.code, f.severity) for f in packed.findings] == ([(code, Severity.WARNING)] if code else [])


PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
PLAIN, SECRET = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"passphrase")


def stored(kind: str, encoding: Any, form: Any, protection: Any) -> Make:
    return lambda: cas.key(kind).private_bytes(encoding, form, protection)


def pfx() -> bytes:
    certificate = x509.load_der_x509_certificate(cas.root())
    return pkcs12.serialize_key_and_certificates(b"x", cas.key("P-256"), certificate, None, SECRET)


PRIVATE_KEYS: dict[str, Make] = {
    "rsa-pkcs8-pem": stored("RSA-2048", PEM, PKCS8, PLAIN),
    "rsa-pkcs8-der": stored("RSA-2048", DER, PKCS8, PLAIN),
    "rsa-pkcs1-pem": stored("RSA-2048", PEM, TRADITIONAL, PLAIN),
    "rsa-pkcs1-der": stored("RSA-2048", DER, TRADITIONAL, PLAIN),
    "rsa-pkcs1-encrypted": stored("RSA-2048", PEM, TRADITIONAL, SECRET),
    "ec-sec1-pem": stored("P-256", PEM, TRADITIONAL, PLAIN),
    "ec-sec1-der": stored("P-256", DER, TRADITIONAL, PLAIN),
    "ec-pkcs8-der": stored("P-521", DER, PKCS8, PLAIN),
    "encrypted-pem": stored("P-256", PEM, PKCS8, SECRET),
    "encrypted-der": stored("P-256", DER, PKCS8, SECRET),
    "ed25519-der": stored("Ed25519", DER, PKCS8, PLAIN),
    "openssh": stored("P-256", PEM, serialization.PrivateFormat.OpenSSH, PLAIN),
    "pkcs12": pfx,
    "utf-16": lambda: stored("P-256", PEM, PKCS8, PLAIN)().decode().encode("utf-16"),
}


@pytest.mark.parametrize("form", PRIVATE_KEYS)
def test_a_private_key_is_refused_whatever_its_form_and_never_echoed(form: str) -> None:
    key = PRIVATE_KEYS[form]()
    files = [key, cas.root() + key, key + cas.pem(cas.root()), key[: len(key) * 2 // 3]]
    if key.startswith(b"0"):
        files += [cas.pem(key), cas.pem(key, "X509 CERTIFICATE"), bundle() + cas.pem(key)]
    else:
        files += [bundle() + key]
    for data in files:
        with pytest.raises(KeyRefusedError, match="holds a private key") as caught:
            pack(data, unusable="drop")
        shown = f"{caught.value.message} {caught.value.hint}"
        assert not any(len(line) > 8 and line in shown for line in key.decode("latin-1").splitlines())


def test_a_private_key_in_an_archive_is_an_error() -> None:
    key = archive.Member("ca", PRIVATE_KEYS["ec-pkcs8-der"]())
    report = certstore.check(archive.serialise([key]), NOW)
    assert said(report.errors) == [("F16", "private-key", "error")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cas.pem(cas.root(), "TRUSTED CERTIFICATE"), "of kind 'TRUSTED CERTIFICATE'"),
        (lambda: cas.pem(cas.root(), "CERTIFICATE REQUEST"), "of kind 'CERTIFICATE REQUEST'"),
        (lambda: cas.pem(cas.root(), "X509 CRL"), "of kind 'X509 CRL'"),
        (lambda: cas.pem(cas.root(), "PUBLIC KEY"), "of kind 'PUBLIC KEY'"),
        (lambda: cas.pem(cas.root())[:-20], "BEGIN line without its END"),
        (lambda: cas.pem(cas.root()) + cas.pem(cas.root())[:-90], "BEGIN line without its END"),
        (lambda: cas.pem(cas.root()).replace(b"M", b"!", 9), "not base64"),
        (lambda: cas.pem(b""), "empty PEM block"),
        (lambda: cas.pem(b"") * (BLOCK_LIMIT + 1), "holds 2001 blocks"),
        (lambda: cas.pem(cas.root()).decode().encode("utf-16"), "UTF-16"),
    ],
)
def test_a_torn_or_foreign_pem_file_is_refused(make: Make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack(make(), unusable="drop")


def test_no_certificate_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no certificate to pack"):
        pack()


def test_no_name_from_a_certificate_steers_the_terminal() -> None:
    evil = cas.root("\x1b[2J\x1b[31m A root of evil, with commas + signs", kind="Ed25519")
    error = judge(evil).errors[0]
    assert error.message.isprintable()
    good = pack(cas.root("\x1b[2J A root of evil, with commas + signs"))
    assert good.anchors[0].subject.isprintable()
    assert archive.device_view(good.archive).indexed


def test_errors_are_ours_whatever_comes_first() -> None:
    with pytest.raises(OtasealError):
        pack(b"\xff" * 100)
