"""A key behind a program: openssl signs here as a key service would, and what a program may get wrong is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from otaseal.errors import ConfigError, KeyRefusedError, OtasealError, SystemFaultError, VerificationError
from otaseal.image import signed_image
from otaseal.keys import key_uri, signers
from otaseal.keys.public import public_pem
from support import openssl
from support.images import build_image

PROGRAM = """\
#!/bin/sh
[ -n "$ALLOWED" ] || { echo "first line" >&2; echo "no credentials" >&2; exit 3; }
case "$2" in
  public-key) exec openssl pkey -in "$1" -pubout ;;
  sign) exec openssl pkeyutl -sign -inkey "$1" -pkeyopt digest:sha256 ;;
esac
"""


def program(folder: Path, text: str = PROGRAM) -> Path:
    path = folder / "sign with"
    path.write_text(text)
    path.chmod(stat.S_IRWXU)
    return path


def source(folder: Path, **environment: str) -> signers.KeySource:
    return signers.KeySource(folder, {"PATH": "/usr/bin:/bin", **environment}, lambda what: b"")


def test_openssl_signs_what_a_device_verifies(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    (tmp_path / "a key.pem").write_bytes(signers.private_key_pem(rsa_key, None))
    uri = f"command:'{program(tmp_path)}' 'a key.pem'"
    signer = signers.open_signer(uri, source(tmp_path, ALLOWED="yes"))
    assert signer.public_key == rsa_key.public_key()
    signed = signed_image.sign(build_image(), signer)
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / "openssl")
    assert signed == signed_image.sign(build_image(), signers.RsaSigner(rsa_key)), (
        "the same bytes as with the key itself"
    )
    with pytest.raises(SystemFaultError, match="fails at 'public-key' with exit code 3: no credentials"):
        signers.open_signer(uri, source(tmp_path))
    assert key_uri.identity(uri, tmp_path, {}) != key_uri.identity(f"{uri}x", tmp_path, {})


def test_what_a_program_may_get_wrong(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    for name, key in (("one", rsa_key), ("other", other_rsa_key)):
        (tmp_path / name).write_bytes(signers.private_key_pem(key, None))
    sound = "openssl pkey -in one -pubout"
    cases = {
        "openssl pkeyutl -sign -inkey other -pkeyopt digest:sha256": VerificationError,
        "openssl pkeyutl -sign -inkey one": VerificationError,  # no DigestInfo
        "openssl pkeyutl -sign -inkey one -pkeyopt digest:sha256 | base64": VerificationError,
        "true": VerificationError,
        "echo \x1b[31mred >&2; false": SystemFaultError,
        "head -c 100000 /dev/zero": SystemFaultError,
    }
    for command, error in cases.items():
        path = program(tmp_path, f'#!/bin/sh\ncase "$1" in public-key) {sound} ;; *) {command} ;; esac\n')
        signer = signers.open_signer(f"command:'{path}'", source(tmp_path))
        with pytest.raises(error) as caught:
            signer.sign(b"payload")
        assert "\x1b" not in caught.value.message


@pytest.mark.parametrize(
    ("uri", "error"),
    [("command:'x", ConfigError), ("command: ", ConfigError), ("command:/no/such/program", ConfigError)],
)
def test_a_uri_that_names_no_program(tmp_path: Path, uri: str, error: type[OtasealError]) -> None:
    with pytest.raises(error):
        signers.open_signer(uri, source(tmp_path))


def test_a_key_that_no_device_can_use(tmp_path: Path) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key").write_bytes(signers.private_key_pem(elliptic, None))
    path = program(tmp_path, "#!/bin/sh\nopenssl pkey -in key -pubout\n")
    with pytest.raises(KeyRefusedError):
        signers.open_signer(f"command:'{path}'", source(tmp_path))
