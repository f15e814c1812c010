"""Enrolment: which certificate requests are signed, and what the folder of authorities keeps of it."""

from __future__ import annotations

import base64
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError, KeyRefusedError, OtasealError
from otaseal.pki import KeyType, Role, store
from otaseal.pki.enrolment import ENROLLED_DAYS, MAX_REQUEST_BYTES, check_request, decode_request
from otaseal.pki.store import Slot, Store
from support import peers
from support.enrolling import MAC, csr
from support.images import flipped
from support.killed_at import NOW


def by_openssl(folder: Path, *options: str, kind: str = "P-256", subject: str = f"/CN={MAC}") -> bytes:
    """Return a request (DER) that the real openssl makes, with a configuration that adds nothing."""
    openssl = peers.tool("openssl", "openssl")
    (folder / "empty.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
    command = [openssl, "req", "-new", "-newkey", *algorithm, "-nodes", "-keyout", "key.pem", "-subj", subject]
    command += ["-config", "empty.cnf", "-outform", "DER", "-out", "request.der", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "request.der").read_bytes()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))
    return Store.create(tmp_path / "pki", "blink", NOW, b"secret")


def test_a_request_of_openssl_is_read_in_each_form(tmp_path: Path) -> None:
    der = by_openssl(tmp_path)
    pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
    for request in (check_request(der), check_request(pem), decode_request(base64.b64encode(der).decode())):
        assert (request.device, request.der) == (MAC, der)
        assert request.public_key == x509.load_der_x509_csr(der).public_key()
    named = by_openssl(tmp_path, subject="/O=whatever/CN=esp-0042", kind="prime256v1")
    assert check_request(named).device == "esp-0042"


@pytest.mark.parametrize(
    ("options", "kind", "subject", "said"),
    [
        ([], "P-384", f"/CN={MAC}", "not on P-256 (secp384r1)"),
        ([], "secp256k1", f"/CN={MAC}", "not on P-256 (secp256k1)"),
        ([], "rsa", f"/CN={MAC}", "not on P-256 (RSA, 2048 bits)"),
        (["-sha384"], "P-256", f"/CN={MAC}", "signed by '1.2.840.10045.4.3.3'"),
        ([], "P-256", "/O=nobody", "has 0 common names"),
        ([], "P-256", f"/CN={MAC}/CN=5C:CF:7F:00:00:02", "has 2 common names"),
        ([], "P-256", f"/CN={MAC.lower()}", f"'{MAC.lower()}' in the certificate request cannot be a device's name"),
        ([], "P-256", "/CN=..\\/..\\/index", "'../../index' in the certificate request cannot be"),
        ([], "P-256", "/CN=a\nb", "cannot be a device's name"),
    ],
)
def test_what_is_not_signed(options: list[str], kind: str, subject: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        check_request(by_openssl(tmp_path, *options, kind=kind, subject=subject))
    assert said in refused.value.message


def test_a_request_that_another_key_signed_is_refused() -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    good, foreign = csr(key), csr(other)
    mine, theirs = (x509.load_der_x509_csr(one).signature for one in (good, foreign))
    if len(mine) == len(theirs):
        mixed = good.replace(mine, theirs)
        with pytest.raises(InputError, match="not signed by the key in it"):
            check_request(mixed)
    with pytest.raises(InputError, match="not signed by the key in it"):
        check_request(good.replace(MAC.encode(), MAC[:-1].encode() + b"9"))


@given(at=st.integers(0, 10_000), cut=st.booleans(), more=st.binary(max_size=3))
def test_no_damaged_request_is_taken(at: int, cut: bool, more: bytes) -> None:
    good = csr(KEY)
    at %= len(good)
    bad = good[:at] if cut else flipped(good, at) + more
    with pytest.raises(OtasealError):
        check_request(bad)


KEY = ec.generate_private_key(ec.SECP256R1())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode()))
def test_whatever_is_said_is_refused_as_bad_input(text: str) -> None:
    with pytest.raises(InputError):
        decode_request(text)


def test_what_is_too_large_is_not_parsed() -> None:
    for data in (bytes(MAX_REQUEST_BYTES + 1), b"-----BEGIN " + bytes(2 * MAX_REQUEST_BYTES)):
        with pytest.raises(InputError, match=r"a certificate request of \d+ (bytes|characters)"):
            check_request(data)
    with pytest.raises(InputError, match=r"a certificate request of \d+ (bytes|characters)"):
        decode_request("A" * (2 * MAX_REQUEST_BYTES))


def test_openssl_accepts_what_is_signed_for_the_key_in_the_chip(made: Store, tmp_path: Path) -> None:
    certificate = made.enroll(check_request(by_openssl(tmp_path)), now=NOW, days=ENROLLED_DAYS)
    chain, root = tmp_path / "chain.pem", made.directory / "device-ca" / "certificate.pem"
    chain.write_bytes(certificate.x509.public_bytes(Encoding.PEM))
    moment = str(int(NOW.timestamp()))
    openssl = peers.tool("openssl", "openssl")
    verify = [openssl, "verify", "-x509_strict", "-purpose", "sslclient", "-attime", moment, "-CAfile", root, chain]
    subprocess.run(verify, check=True, capture_output=True)
    pairs = [["pkey", "-in", tmp_path / "key.pem", "-pubout"], ["x509", "-in", chain, "-pubkey", "-noout"]]
    ours, theirs = (subprocess.run([openssl, *pair], check=True, capture_output=True).stdout for pair in pairs)
    assert ours == theirs
    assert certificate.common_names == (MAC,)
    days = (certificate.fields.not_after - certificate.fields.not_before).total_seconds() / 86400
    assert round(days) == ENROLLED_DAYS
    assert len(base64.b64encode(certificate.der)) + len("otaseal certificate ") <= 1200
    stored = made.directory / "issued" / "device" / MAC.replace(":", "-")
    assert [path.name for path in stored.iterdir()] == ["chain.pem"], "the key is in the chip alone"


def test_nothing_else_in_a_request_is_believed(made: Store) -> None:
    """A request that wants to be an authority, for names of servers, becomes what every device gets."""
    wanted = x509.SubjectAlternativeName([x509.DNSName("update.local")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name(
            [
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Evil"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, MAC),
            ]
        )
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    request = builder.add_extension(wanted, critical=False).sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    certificate = made.enroll(check_request(request), now=NOW, days=30)
    assert not certificate.is_ca
    assert certificate.alternatives is None
    assert certificate.uses == {"1.3.6.1.5.5.7.3.2"}
    assert "Evil" not in certificate.title


def test_no_certificate_outlives_its_authority(made: Store) -> None:
    end = made.certificate(Slot.DEVICE).fields.not_after
    certificate = made.enroll(check_request(csr(KEY)), now=end - timedelta(days=10), days=ENROLLED_DAYS)
    assert certificate.fields.not_after == end
    with pytest.raises(InputError, match="is valid from"):
        made.enroll(check_request(csr(KEY, "5C:CF:7F:00:00:02")), now=end + timedelta(days=1), days=ENROLLED_DAYS)


def test_the_same_key_gets_the_same_certificate_until_renewal_is_due(made: Store) -> None:
    request = check_request(csr(KEY))
    first = made.enroll(request, now=NOW, days=90)
    assert made.enroll(request, now=NOW + timedelta(days=50), days=90) == first
    late = NOW + timedelta(days=61)
    assert [entry.name for entry in made.due(late)] == [MAC]
    second = made.enroll(request, now=late, days=90)
    assert second != first
    assert made.due(late) == ()


def test_a_renewed_one_replaces_and_both_are_revoked(made: Store) -> None:
    first = made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    second = made.enroll(check_request(csr(ec.generate_private_key(ec.SECP256R1()))), now=NOW, days=90)
    assert [entry.serial for entry in made.list()] == [first.serial, second.serial]
    assert all(entry.revoked is None for entry in made.list()), "the device may need the old one until it has the new"
    assert {entry.serial for entry in made.revoke(Role.DEVICE, MAC, now=NOW)} == {first.serial, second.serial}
    crl = x509.load_pem_x509_crl((made.directory / "device-ca" / "crl.pem").read_bytes())
    assert {f"{revoked.serial_number:x}" for revoked in crl} == {first.serial, second.serial}
    assert not (made.directory / "issued" / "device" / MAC.replace(":", "-")).exists()
    again = made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    assert again.serial not in (first.serial, second.serial)


def test_one_that_did_not_arrive_is_revoked_alone(made: Store) -> None:
    first = made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    request = check_request(csr(ec.generate_private_key(ec.SECP256R1())))
    lost = made.enroll(request, now=NOW, days=90)
    made.revoke(Role.DEVICE, MAC, now=NOW, serial=lost.serial)
    assert {entry.serial for entry in made.list() if entry.revoked} == {lost.serial}
    assert made.enroll(request, now=NOW, days=90).serial not in (first.serial, lost.serial)
    with pytest.raises(InputError, match="nothing is issued"):
        made.revoke(Role.DEVICE, MAC, now=NOW, serial="1234")


def test_a_key_that_was_made_here_is_not_replaced(made: Store) -> None:
    made.issue_device(MAC, now=NOW)
    with pytest.raises(InputError, match=f"the key of '{MAC}' was made here"):
        made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    assert len(made.list()) == 1
    made.revoke(Role.DEVICE, MAC, now=NOW)
    made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    with pytest.raises(InputError, match="exists already"):
        made.issue_device(MAC, now=NOW)


def test_a_key_in_the_chip_is_not_renewed_from_here(made: Store) -> None:
    made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    with pytest.raises(InputError, match="has its key in the device"):
        made.renew(Role.DEVICE, MAC, now=NOW)
    assert len(made.list()) == 1


def test_a_wrong_passphrase_signs_nothing(made: Store) -> None:
    for passphrase in (b"wrong", None):
        with pytest.raises(KeyRefusedError):
            Store(made.directory, "blink", passphrase).enroll(check_request(csr(KEY)), now=NOW, days=90)
    assert made.list() == ()
    assert not (made.directory / "issued").exists()


def test_an_index_that_lost_it_learns_its_name_again(made: Store) -> None:
    """As after a kill between the certificate and the index: the folder's name has no colons, the device's has."""
    made.enroll(check_request(csr(KEY)), now=NOW, days=90)
    before = made.list()
    (made.directory / "index.json").unlink()
    assert made.list() == before
