"""Signing keys: openssl writes them and reads ours; what would lock devices out or is given away is refused by name."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.errors import ConfigError, InputError, KeyRefusedError, OtasealError, SystemFaultError
from otaseal.image import signed_image
from otaseal.keys import key_uri, signers
from otaseal.keys.public import public_pem
from otaseal.keys.signers import KeySource
from support import cas
from support.images import build_image
from support.openssl import openssl

SECRET = b"correct horse"


def never(what: str) -> bytes:
    raise AssertionError(f"a passphrase for {what} was asked for")


def source(project: Path, passphrase: Callable[[str], bytes] = never, **environment: str) -> KeySource:
    return KeySource(project, {**os.environ, **environment}, passphrase)


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


FORMS: dict[str, tuple[str, ...]] = {
    "PKCS#8": ("pkcs8", "-topk8", "-nocrypt"),
    "PKCS#1": ("rsa", "-traditional"),
    "PKCS#8, encrypted": ("pkcs8", "-topk8", "-passout", f"pass:{SECRET.decode()}"),
    "PKCS#8, encrypted with scrypt": ("pkcs8", "-topk8", "-scrypt", "-passout", f"pass:{SECRET.decode()}"),
    "PKCS#1, encrypted": ("rsa", "-traditional", "-aes128", "-passout", f"pass:{SECRET.decode()}"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_as_openssl_writes_it_signs_as_openssl_verifies(
    form: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    write(tmp_path / "signing.key", openssl(*FORMS[form], stdin=pem_of(rsa_key)))
    asked: list[str] = []

    def passphrase(what: str) -> bytes:
        asked.append(what)
        return SECRET

    signer = signers.open_signer("file:signing.key", source(tmp_path, passphrase))
    assert len(asked) == ("encrypted" in form)
    assert all("signing.key" in what for what in asked)
    (tmp_path / "signature").write_bytes(signer.sign(b"payload"))
    (tmp_path / "signing.pub").write_bytes(public_pem(signer.public_key))
    verify = ("dgst", "-sha256", "-verify", str(tmp_path / "signing.pub"), "-signature", str(tmp_path / "signature"))
    assert b"Verified OK" in openssl(*verify, stdin=b"payload")


@pytest.mark.parametrize("wrong", [b"wrong", b"", b"\xff" * 100])
def test_a_wrong_passphrase_is_said(wrong: bytes, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    write(tmp_path / "k", openssl(*FORMS["PKCS#8, encrypted"], stdin=pem_of(rsa_key)))
    with pytest.raises(InputError, match="cannot be unlocked"):
        signers.open_signer("file:k", source(tmp_path, lambda what: wrong))


@pytest.mark.parametrize("one_line", [False, True])
def test_a_key_in_the_environment(one_line: bool, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    text = pem_of(rsa_key).decode()
    value = text.replace("\n", "\\n") if one_line else text
    signer = signers.open_signer("env:CI_KEY", source(tmp_path, CI_KEY=value))
    assert signer.public_key == rsa_key.public_key()


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_an_environment_without_the_key_is_said(value: str | None, tmp_path: Path) -> None:
    given = source(tmp_path) if value is None else source(tmp_path, CI_KEY=value)
    with pytest.raises(ConfigError, match="environment variable 'CI_KEY' holds no signing key"):
        signers.open_signer("env:CI_KEY", given)


@pytest.mark.parametrize(
    "uri", ["signing.key", "/a/signing.key", "", ":", "http://x", "FILE:k", "C:\\keys\\k", " file:k"]
)
def test_a_uri_without_a_known_scheme_is_refused_with_those_there_are(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no known scheme") as caught:
        signers.open_signer(uri, source(tmp_path))
    assert "file:" in caught.value.hint
    assert "env:" in caught.value.hint


@pytest.mark.parametrize("uri", ["file:", "env:"])
def test_a_uri_that_names_nothing_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names nothing"):
        signers.open_signer(uri, source(tmp_path))


def test_a_key_given_in_place_of_its_name_is_not_shown(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    pem = pem_of(rsa_key).decode()
    with pytest.raises(ConfigError) as caught:
        signers.open_signer(pem, source(tmp_path))
    assert pem.splitlines()[1][:20] not in str(caught.value)


def refused(tmp_path: Path, data: bytes) -> KeyRefusedError:
    write(tmp_path / "k", data)
    with pytest.raises(KeyRefusedError) as caught:
        signers.open_signer("file:k", source(tmp_path))
    return caught.value


@pytest.mark.parametrize(
    ("kind", "message"), [("P-256", "type EC"), ("Ed25519", "type Ed25519"), ("RSA-1024", "1024 bits")]
)
def test_other_kinds_of_keys_are_refused(kind: str, message: str, tmp_path: Path) -> None:
    pem = cas.key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert message in refused(tmp_path, pem).message


def test_a_key_larger_than_devices_verify_is_refused(
    tmp_path: Path, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    assert "4104 bits, which is more" in refused(tmp_path, pem_of(rsa_keys(4104))).message


def test_public_keys_certificates_and_garbage_are_refused(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    pkcs1 = openssl("rsa", "-RSAPublicKey_out", stdin=pem_of(rsa_key))
    for public in (public_pem(rsa_key.public_key()), pkcs1, cas.pem(cas.root())):
        kind = "certificate" if b"CERTIFICATE" in public else "public key"
        assert refused(tmp_path, public).message.endswith(f"is a {kind}")
    for garbage in (b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\n", bytes(1000), pem_of(rsa_key)[:-60]):
        assert "not a PEM private key" in refused(tmp_path, garbage).message


def test_a_key_file_has_a_limit(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    write(tmp_path / "k", pem_of(rsa_key) + b"\n" * key_uri.MAX_KEY_FILE_SIZE)
    with pytest.raises(InputError, match="larger than"):
        signers.open_signer("file:k", source(tmp_path))


def test_a_key_that_is_not_there_is_brought_and_not_made_anew(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """On a second computer, or damaged: a new key in its place would lock out all devices that know the old one."""
    bring = "bring it from where it was made: devices take updates from that key only; if no device has this product's"
    with pytest.raises(InputError, match="does not exist") as caught:
        signers.open_signer("file:k", source(tmp_path))
    assert caught.value.hint.startswith(bring)
    write(tmp_path / "k", pem_of(rsa_key)[:200])
    with pytest.raises(InputError, match="is not a PEM private key") as caught:
        signers.open_signer("file:k", source(tmp_path))
    assert caught.value.hint.startswith(bring)
    write(tmp_path / "k", public_pem(rsa_key.public_key()))
    with pytest.raises(InputError, match="is a public key") as caught:
        signers.open_signer("file:k", source(tmp_path))
    assert caught.value.hint == "name the private key that belongs to it"


def test_a_public_key_is_called_one_before_its_mode_is_looked_at(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    public = signers.write_key_pair(tmp_path / "signing.key", rsa_key, None)
    public.chmod(0o644)
    for name in ("signing.pub", "cert.pem"):
        (tmp_path / "cert.pem").write_bytes(cas.pem(cas.root()))
        with pytest.raises(KeyRefusedError, match=r"is a (public key|certificate)$") as caught:
            signers.open_signer(f"file:{name}", source(tmp_path))
        beside = f": '{tmp_path / 'signing.key'}'" if name == "signing.pub" else ""
        assert caught.value.hint == f"name the private key that belongs to it{beside}"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    write(tmp_path / "k", pem_of(rsa_key), mode)
    with pytest.raises(KeyRefusedError, match="readable by others") as caught:
        signers.open_signer("file:k", source(tmp_path))
    subprocess.run(caught.value.hint, shell=True, check=True)
    assert signers.open_signer("file:k", source(tmp_path)).public_key == rsa_key.public_key()


@pytest.mark.parametrize("place", ["data/k", "data/deep/er/k"])
def test_a_key_on_its_way_onto_devices_is_refused(place: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    write(tmp_path / place, pem_of(rsa_key))
    (tmp_path / "elsewhere").symlink_to(tmp_path / place)
    for uri in (f"file:{place}", f"file:{tmp_path / place}", "file:elsewhere"):
        with pytest.raises(KeyRefusedError, match="copied onto every device"):
            signers.open_signer(uri, KeySource(tmp_path, {}, never, (tmp_path / "data",)))


def test_a_folder_that_is_only_named_alike_is_no_such_place(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    write(tmp_path / "data-keys" / "k", pem_of(rsa_key))
    assert signers.open_signer("file:data-keys/k", KeySource(tmp_path, {}, never, (tmp_path / "data",)))


def test_the_identity_changes_with_the_key_and_unlocks_nothing(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    given = source(tmp_path)
    missing = key_uri.identity("file:k", given.project, given.environment)
    write(tmp_path / "k", openssl(*FORMS["PKCS#8, encrypted"], stdin=pem_of(rsa_key)))
    first = key_uri.identity("file:k", given.project, given.environment)
    assert first == key_uri.identity("file:k", given.project, given.environment)
    write(tmp_path / "k", openssl(*FORMS["PKCS#8, encrypted"], stdin=pem_of(other_rsa_key)))
    write(tmp_path / "l", (tmp_path / "k").read_bytes())
    assert (
        len(
            {
                missing,
                first,
                key_uri.identity("file:k", given.project, given.environment),
                key_uri.identity("file:l", given.project, given.environment),
            }
        )
        == 4
    )
    one, two = (key_uri.identity("env:K", tmp_path, {"K": pem_of(key).decode()}) for key in (rsa_key, other_rsa_key))
    assert one != two != key_uri.identity("env:K", given.project, given.environment)


def test_secrets_do_not_print_themselves(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    given = source(tmp_path, CI_KEY=pem_of(rsa_key).decode())
    assert "PRIVATE" not in repr(given)
    shown = repr(signers.open_signer("env:CI_KEY", given))
    assert "RSAPrivateKey" not in shown
    assert str(rsa_key.private_numbers().d) not in shown


@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_new_pair_is_what_openssl_reads(secret: bytes | None, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    path = tmp_path / "my keys" / "signing.key"
    public = signers.write_key_pair(path, rsa_key, secret)
    assert public == path.with_suffix(".pub")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    unlock = ["-passin", f"pass:{secret.decode()}"] if secret else []
    assert openssl("pkey", "-pubout", "-in", str(path), *unlock) == public.read_bytes()
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED" if secret else b"-----BEGIN PRIVATE KEY")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["signing.key", "signing.pub"]
    opened = signers.open_signer(f"file:{path}", source(tmp_path, lambda what: secret or never(what)))
    assert opened.public_key == rsa_key.public_key()
    assert key_uri.public_key_path(f"file:{path}", tmp_path) == public


@pytest.mark.parametrize("taken", ["signing.key", "signing.pub"])
def test_a_key_is_never_replaced(taken: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(InputError, match=f"{taken}' exists already"):
        signers.write_key_pair(tmp_path / "signing.key", rsa_key, None)
    assert [entry.name for entry in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"precious"


def test_half_a_pair_is_never_left(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """The longest name that a file can have: `.pub` is a byte longer than `.ke`."""
    path = tmp_path / ("a" * (255 - len(".ke")) + ".ke")
    with pytest.raises(SystemFaultError, match="cannot be written"):
        signers.write_key_pair(path, rsa_key, None)
    assert not list(tmp_path.iterdir())


def test_a_private_key_is_not_named_like_a_public_one(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match="name of a public key file"):
        signers.write_key_pair(tmp_path / "signing.pub", rsa_key, None)
    assert not list(tmp_path.iterdir())


def test_there_is_no_public_key_path_without_a_file(tmp_path: Path) -> None:
    assert key_uri.public_key_path("file:signing.key", tmp_path) is None
    assert key_uri.public_key_path("env:KEY", tmp_path) is None


def test_a_damaged_key_gives_no_signature(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    """Its parts are not tested when it is loaded; what it signs is."""
    ours, theirs = rsa_key.private_numbers(), other_rsa_key.private_numbers()
    mixed = rsa.RSAPrivateNumbers(
        ours.p, ours.q, theirs.d, theirs.dmp1, theirs.dmq1, ours.iqmp, ours.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    signer = signers.RsaSigner(signers.load_private_key(pem_of(mixed), "the key", lambda what: b""))
    with pytest.raises(OtasealError):
        signed_image.sign(build_image(), signer)


def test_which_keys_are_in_a_token() -> None:
    assert signers.in_token("pkcs11:token=a;object=b")
    assert signers.in_token("command:sign-with key")
    assert not signers.in_token("file:signing.key")
    assert not signers.in_token("env:KEY")
