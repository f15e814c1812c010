"""Certificates that devices, mbedTLS and OpenSSL read, and that decoders which insist on DER do not."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, timezone
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from otaseal.certs import pem, x509_names
from otaseal.certs.x509_fields import read_certificate, strict_objection
from otaseal.errors import InputError
from otaseal.pki.certificate import Certificate
from otaseal.simulator.certstore import CertStore
from support import cas
from support.command import Command, otaseal
from support.latin_chain import LATIN_TITLE, make_latin_chain

__all__ = ["otaseal"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_latin_chain(tmp_path)


def test_openssl_makes_what_strict_decoders_cannot_read(made: Path) -> None:
    authority, server = (pem.certificates((made / name).read_bytes())[0] for name in ("ca.crt", "server.crt"))
    assert LATIN_TITLE.encode("latin-1") in authority
    assert strict_objection(authority) == "its subject"
    assert strict_objection(server) == "its issuer's name"
    assert bytes.fromhex("0603551d130405" + "3003010100") in server
    assert Certificate(authority).title == f"CN={LATIN_TITLE}"


def test_it_is_packed_and_found_by_a_device(made: Path, otaseal: Command) -> None:
    done = otaseal("certs", "pack", "ca.crt", "-o", "certs.ar").succeeded()
    assert "its subject cannot be read by decoders that insist on DER" in done.err
    entries = CertStore.load((made / "certs.ar").read_bytes()).entries
    assert [one.verdict for one in entries] == ["anchor"]
    assert LATIN_TITLE in otaseal("certs", "list", "certs.ar").succeeded().out
    otaseal("certs", "check", "certs.ar").succeeded()


def test_it_is_checked_and_imported_once(made: Path, otaseal: Command) -> None:
    checked = otaseal("pki", "check", "server.crt", "--ca", "ca.crt", "--json").succeeded().json["checks"][0]
    assert checked["good"] is True
    assert set(checked["verdicts"].values()) == {True}
    assert [one["rule"] for one in checked["findings"]] == ["not-strict-der", "not-strict-der"]
    first = otaseal("pki", "import", "server.crt", "--ca", "ca.crt", "--json").succeeded().json
    assert len(first["written"]) == 1
    again = otaseal("pki", "import", "server.crt", "--ca", "ca.crt", "--json").succeeded().json
    assert again["written"] == []


def test_what_is_read_is_what_cryptography_reads() -> None:
    """All roots of Mozilla's, field by field: being liberal changes nothing about what is in DER."""
    ders = pem.certificates(Path(certifi.where()).read_bytes())
    assert len(ders) > 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of serial numbers in old roots
        for der in ders:
            ours, theirs = read_certificate(der), x509.load_der_x509_certificate(der)
            assert x509_names.written(ours.subject) == theirs.subject.rfc4514_string()
            assert (ours.serial, ours.signed) == (theirs.serial_number, theirs.tbs_certificate_bytes)
            assert (ours.not_before, ours.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
            assert (ours.signature, ours.version - 1) == (theirs.signature, theirs.version.value)
            extensions = [(one.oid.dotted_string, one.critical) for one in theirs.extensions]
            assert [(one.oid, one.critical) for one in ours.extensions] == extensions
            assert strict_objection(der) is None


@pytest.mark.parametrize("text", ["a,b+c", "#a", " a ", 'q"<;>\\', " ", "ä\0b", "a#", "x" * 60])
def test_a_name_is_written_as_cryptography_writes_it(text: str) -> None:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
            x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "ca@example.com"),
        ]
    )
    assert x509_names.written(name.public_bytes()) == name.rfc4514_string()
    assert x509_names.values_of(name.public_bytes(), x509_names.COMMON_NAME) == (text,)


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda body: cas.tlv(0x30, body)))
def test_any_bytes_are_a_certificate_or_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_certificate(data)


@given(st.integers(0), st.integers(0, 255))
def test_a_byte_that_is_changed_is_read_or_refused(where: int, value: int) -> None:
    der = bytearray(cas.root())
    der[where % len(der)] = value
    try:
        read = Certificate(bytes(der))
    except InputError:
        return
    assert json.dumps(read.title)
    assert read.valid_at(datetime(2030, 6, 1, tzinfo=timezone.utc)) in (True, False)
