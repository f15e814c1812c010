"""What an authority issues is accepted by all four stacks, and what it must not issue is refused."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import ConfigError, InputError, KeyRefusedError, OtasealError
from otaseal.keys.signers import private_key_pem
from otaseal.pki import Authority, Issued, KeyType, Role
from otaseal.pki.authority import load_private_key
from otaseal.pki.certificate import parse_certificates
from otaseal.pki.chain import Stack
from otaseal.pki.check import examine
from otaseal.pki.profile import Validity, make_key
from otaseal.pki.store import Store
from support.chain_maker import NOW, make_rsa
from support.verifiers import VERIFIERS, Presenter, Question, ask_bearssl, ask_openssl_at, presenting

ADDRESS, HOST = "192.168.178.123", "update.local"
NAMES = [ADDRESS, HOST, "::1"]
DAY = timedelta(days=1)
ANY_NAME = "-"


@cache
def authority(role: Role, key: KeyType = KeyType.P_256) -> Authority:
    return Authority.create(role=role, product="blink", now=NOW, key=make_rsa(2048) if key is KeyType.RSA_2048 else key)


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


def ders(pem: bytes) -> list[bytes]:
    return [one.der for one in parse_certificates(pem)]


@pytest.mark.parametrize("root_key", KeyType)
@pytest.mark.parametrize("leaf_key", KeyType)
@pytest.mark.parametrize("name", [ADDRESS, HOST])
@pytest.mark.parametrize("stack", Stack)
def test_all_stacks_accept_a_server(
    root_key: KeyType, leaf_key: KeyType, name: str, stack: Stack, presenter: Presenter, tmp_path: Path
) -> None:
    by = authority(Role.SERVER, root_key)
    issued = by.issue_server(NAMES, now=NOW, key=make_rsa(2048, 1) if leaf_key is KeyType.RSA_2048 else leaf_key)
    presenter.present(ders(issued.chain_pem), issued.key)
    accepted, said = VERIFIERS[stack](Question(presenter.port, [by.certificate_der], name, NOW, tmp_path))
    assert accepted, said
    report = examine(ders(issued.chain_pem), [by.certificate_der], name, NOW)
    assert (report.good, report.findings, report.expiring) == (True, (), ())


def test_an_ipv6_address_is_a_name_too() -> None:
    by = authority(Role.SERVER)
    issued = by.issue_server(["fe80::0001"], now=NOW, key=KeyType.P_256)
    names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fe80::1"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["fe80::1"]


@pytest.mark.parametrize("role", [Role.DEVICE, Role.OPERATOR])
def test_openssl_accepts_a_client(role: Role, tmp_path: Path) -> None:
    by = authority(role)
    issued = by.issue_device("esp-1a2b3c", now=NOW) if role is Role.DEVICE else by.issue_operator("alice", now=NOW)
    question = Question(0, [by.certificate_der], "", NOW, tmp_path)
    accepted, said = ask_openssl_at(question, ders(issued.chain_pem), "sslclient")
    assert accepted, said
    refused, _ = ask_openssl_at(question, ders(issued.chain_pem), "sslserver")
    assert not refused


@pytest.mark.parametrize("name", [ANY_NAME, "esp-1a2b3c", ADDRESS])
def test_a_device_cannot_pose_as_the_server(name: str, presenter: Presenter, tmp_path: Path) -> None:
    device = authority(Role.DEVICE).issue_device("esp-1a2b3c", now=NOW)
    presenter.present(ders(device.chain_pem), device.key)
    anchors = [authority(Role.SERVER).certificate_der]
    accepted, _ = ask_bearssl(Question(presenter.port, anchors, name, NOW, tmp_path))
    assert not accepted


def test_with_one_authority_for_both_it_could(presenter: Presenter, tmp_path: Path) -> None:
    """Why there are separate ones: BearSSL ignores the extended key usage, and a sketch may check no name (F23)."""
    one_for_all = authority(Role.DEVICE)
    device = one_for_all.issue_device("esp-1a2b3c", now=NOW)
    presenter.present(ders(device.chain_pem), device.key)
    accepted, said = ask_bearssl(Question(presenter.port, [one_for_all.certificate_der], ANY_NAME, NOW, tmp_path))
    assert accepted, said


@pytest.mark.parametrize("role", Role)
def test_an_authority_issues_for_its_own_role_only(role: Role) -> None:
    by = authority(role)
    issue = {
        Role.SERVER: lambda: by.issue_server([HOST], now=NOW, key=KeyType.P_256),
        Role.DEVICE: lambda: by.issue_device("esp", now=NOW),
        Role.OPERATOR: lambda: by.issue_operator("alice", now=NOW),
    }
    for other in Role:
        if other is role:
            assert isinstance(issue[other](), Issued)
        else:
            with pytest.raises(ConfigError, match=f"issues no {other.value}"):
                issue[other]()


def test_the_profile() -> None:
    by = authority(Role.SERVER)
    issued = by.issue_server(NAMES, now=NOW, key=make_rsa(2048, 1))
    leaf, root = issued.certificate, by.certificate
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert life < timedelta(days=366)
    assert leaf.not_valid_before_utc < NOW
    assert (root.not_valid_after_utc - NOW).days // 365 == 25
    assert len(root.subject.public_bytes()) >= 32
    assert leaf.serial_number.bit_length() > 64
    assert leaf.serial_number != root.serial_number
    critical = {one.oid._name for one in [*leaf.extensions, *root.extensions] if one.critical}
    assert critical == {"basicConstraints", "keyUsage"}
    use = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert len(parse_certificates(issued.chain_pem)) == 1, "the root is not sent"


def test_two_roots_never_share_a_subject() -> None:
    first, second = (Authority.create(role=Role.SERVER, product="b", now=NOW, key=KeyType.P_256) for _ in range(2))
    assert first.certificate.subject != second.certificate.subject
    assert len(first.certificate.subject.public_bytes()) >= 32


@given(st.text(st.sampled_from("abz09-_. AZ@/\\\0ü"), max_size=70))
def test_any_name_is_issued_or_refused_by_us(text: str) -> None:
    for attempt in (
        lambda: authority(Role.SERVER).issue_server([text], now=NOW, key=KeyType.P_256),
        lambda: authority(Role.DEVICE).issue_device(text, now=NOW),
    ):
        try:
            issued = attempt()
        except OtasealError:
            continue
        assert len(issued.certificate.subject.public_bytes()) >= 32


@pytest.mark.parametrize(
    "name", ["", "https://update.local", "update.local:8443", "a b", "-a.b", "a..b", "ü.de", "x" * 64, "*", "a.*.b"]
)
def test_what_is_no_server_name(name: str) -> None:
    with pytest.raises(ConfigError):
        authority(Role.SERVER).issue_server([name], now=NOW)


@pytest.mark.parametrize("names", [[], [f"host-{index}" for index in range(101)]])
def test_how_many_names(names: list[str]) -> None:
    with pytest.raises(ConfigError):
        authority(Role.SERVER).issue_server(names, now=NOW)


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b", "a b", "x" * 65, "a\n"])
def test_what_is_no_holder_or_product(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        authority(Role.DEVICE).issue_device(name, now=NOW)
    with pytest.raises(ConfigError, match="is not a valid name"):
        Store.create(tmp_path / "pki", name, NOW)
    assert not list(tmp_path.iterdir())


def test_the_longest_product_name_fits_into_every_subject() -> None:
    name = "x" * 64
    made = {role: Authority.create(role=role, product=name, now=NOW, key=KeyType.P_256) for role in Role}
    issued = [
        made[Role.SERVER].issue_server(["update.local"], now=NOW, key=KeyType.P_256),
        made[Role.DEVICE].issue_device("kitchen", now=NOW),
        made[Role.OPERATOR].issue_operator("ada", now=NOW),
    ]
    for one in (*(by.certificate for by in made.values()), *(each.certificate for each in issued)):
        assert max(len(str(part.value)) for part in one.subject) <= 64
    for by in made.values():
        again = Authority.from_pem(by.certificate_pem, private_key_pem(by.key, None))
        assert (again.role, again.product) == (by.role, name)


def test_no_certificate_outlives_its_authority() -> None:
    by = authority(Role.SERVER)
    end = by.certificate.not_valid_after_utc
    late = by.issue_server([HOST], now=end - DAY, key=KeyType.P_256)
    assert late.certificate.not_valid_after_utc == end
    for when in (end + DAY, by.certificate.not_valid_before_utc - DAY):
        with pytest.raises(InputError, match="is valid from"):
            by.issue_server([HOST], now=when, key=KeyType.P_256)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        Validity.starting(datetime(2026, 1, 1), 10)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_an_authority_is_loaded_again(passphrase: bytes | None) -> None:
    by = authority(Role.DEVICE)
    locked = private_key_pem(by.key, passphrase)
    again = Authority.from_pem(by.certificate_pem, locked, passphrase)
    assert (again.role, again.product, again.certificate) == (by.role, by.product, by.certificate)
    assert Authority.from_pem(by.certificate_pem, private_key_pem(by.key, None), b"needless").role is by.role
    if passphrase:
        for wrong in (None, b"wrong", b""):
            with pytest.raises(KeyRefusedError):
                load_private_key(locked, wrong)


def test_a_foreign_key_or_certificate_is_refused() -> None:
    by = authority(Role.DEVICE)
    with pytest.raises(KeyRefusedError, match="not that of"):
        Authority.from_pem(by.certificate_pem, private_key_pem(make_key(KeyType.P_256), None))
    device = by.issue_device("esp", now=NOW)
    with pytest.raises(InputError, match="not an authority"):
        Authority.from_pem(device.chain_pem, device.private_key_pem)


def test_secrets_do_not_print_themselves() -> None:
    by = authority(Role.DEVICE)
    issued = by.issue_device("esp", now=NOW)
    assert "key" not in f"{by!r} {issued!r}".replace("KeyType", "")


def test_a_server_and_a_client_with_our_certificates(tmp_path: Path) -> None:
    """Mutual TLS with nothing but what the authorities hand out."""
    server = authority(Role.SERVER).issue_server([HOST], now=NOW, key=KeyType.P_256)
    device = authority(Role.DEVICE).issue_device("esp-1a2b3c", now=NOW)
    contexts = []
    for side, own, trusted in (
        (ssl.PROTOCOL_TLS_SERVER, server, Role.DEVICE),
        (ssl.PROTOCOL_TLS_CLIENT, device, Role.SERVER),
    ):
        context = ssl.SSLContext(side)
        path = tmp_path / side.name
        path.write_bytes(own.private_key_pem + own.chain_pem)
        context.load_cert_chain(path)
        context.load_verify_locations(cadata=authority(trusted).certificate_pem.decode())
        context.verify_mode, context.verify_flags = ssl.CERT_REQUIRED, context.verify_flags | ssl.VERIFY_X509_STRICT
        contexts.append(context)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    talking = [contexts[0].wrap_bio(there, back, True), contexts[1].wrap_bio(back, there, False, HOST)]
    done: set[int] = set()
    for _ in range(6):
        for index in {0, 1} - done:
            try:
                talking[index].do_handshake()
                done.add(index)
            except ssl.SSLWantReadError:
                pass
    subject = dict(pair for part in (talking[0].getpeercert() or {})["subject"] for pair in part)  # type: ignore[union-attr,misc]
    assert subject["commonName"] == "esp-1a2b3c"


def test_importing_is_cheap() -> None:
    code = "import sys, otaseal.pki, otaseal.pki.store, otaseal.pki.check; sys.exit('cryptography' in sys.modules)"
    path = str(Path(__file__).parents[2] / "tools")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})
