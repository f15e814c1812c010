"""Signing keys in tokens: SoftHSM signs, openssl verifies; and each URI, PIN or key that is refused, by name."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import ConfigError, InputError, KeyRefusedError, SystemFaultError
from otaseal.image import signed_image
from otaseal.keys import key_uri, pkcs11, signers
from otaseal.keys.public import public_pem
from otaseal.keys.signers import KeySource
from support import openssl, peers
from support.images import build_image
from support.softhsm import PIN, SoftHsm, module

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory, rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> Iterator[SoftHsm]:
    """Make one set of tokens for all tests, because a process initialises the module once."""
    module()
    made = SoftHsm(tmp_path_factory.mktemp("softhsm")).create()
    for label in ("blink", "same name", "same name", "odd"):
        made.add_token(label)
    made.add_key("blink", "signing", "01", rsa_keys(2048))
    made.add_key("blink", "large", "02", rsa_keys(4096))
    made.add_key("odd", "ec", "01", ec.generate_private_key(ec.SECP256R1()))
    made.add_key("odd", "short", "02", rsa_keys(1024))
    made.add_key("odd", "twin", "03", rsa_keys(2048))
    made.add_key("odd", "twin", "04", rsa_keys(2048, 1))
    before = {name: os.environ.get(name) for name in made.environment}
    os.environ.update(made.environment)
    yield made
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(autouse=True)
def _logged_out() -> Iterator[None]:
    """End the sessions of the test before: a login counts for the whole process."""
    yield
    gc.collect()


def uri(path: str, query: str = "") -> str:
    return f"pkcs11:{path}?module-path={module()}{query}"


def source(project: Path, pin: str | bytes = PIN) -> tuple[KeySource, list[str]]:
    asked: list[str] = []

    def give(what: str) -> bytes:
        asked.append(what)
        return pin.encode() if isinstance(pin, str) else pin

    return KeySource(project, os.environ, give), asked


@pytest.mark.parametrize(
    "path", ["token=blink;object=signing", "token=blink;id=%01", "object=signing;type=private;token=blink;id=%01"]
)
def test_a_token_signs_as_openssl_verifies(path: str, hsm: SoftHsm, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    where, asked = source(tmp_path)
    signer = signers.open_signer(uri(path), where)
    assert asked == ["token 'blink' (its PIN)"]
    assert signer.public_key.public_numbers() == rsa_key.public_key().public_numbers()
    payload = build_image()
    signed = signed_image.sign(payload, signer)
    assert signed_image.verify(signed, rsa_key.public_key()) == payload
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / "openssl")
    assert len(asked) == 1
    assert not signers.secrets(signer)


def test_a_large_key_and_two_signers_at_once(
    hsm: SoftHsm, tmp_path: Path, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    where, _ = source(tmp_path)
    first, second = (signers.open_signer(uri(f"token=blink;object={label}"), where) for label in ("signing", "large"))
    payload = build_image()
    assert signed_image.verify(signed_image.sign(payload, second), rsa_keys(4096).public_key()) == payload
    assert signed_image.verify(signed_image.sign(payload, first), rsa_keys(2048).public_key()) == payload


def test_the_pin_from_a_file(hsm: SoftHsm, tmp_path: Path) -> None:
    (tmp_path / "the pin").write_text(PIN + "\n")
    where, asked = source(tmp_path, "not this one")
    for pin_source in ("the%20pin", f"file:{tmp_path}/the%20pin", f"file://{tmp_path}/the%20pin"):
        assert signers.open_signer(uri("token=blink;object=signing", f"&pin-source={pin_source}"), where)
        gc.collect()
    assert not asked


@pytest.mark.parametrize("pin", ["999999", "", "1", b"\xff\xfe", "x" * 1000])
def test_a_wrong_pin_is_tried_once_and_never_shown(pin: str | bytes, hsm: SoftHsm, tmp_path: Path) -> None:
    where, asked = source(tmp_path, pin)
    with pytest.raises(InputError, match="token 'blink'") as refusal:
        signers.open_signer(uri("token=blink;object=signing"), where)
    assert len(asked) == 1
    assert "999999" not in refusal.value.message + refusal.value.hint


def run_cli(hsm: SoftHsm, key: str, pin: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hsm.environment, "OTASEAL_PASSPHRASE": pin, "PYTHONPATH": str(TOOLS)}
    command = [sys.executable, "-m", "otaseal", "key", "show", key]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_command_line_takes_the_pin_from_the_variable_and_shows_it_nowhere(hsm: SoftHsm) -> None:
    shown = run_cli(hsm, uri("token=blink;object=signing"), PIN)
    assert shown.returncode == 0, shown.stderr
    assert "SHA256:" in shown.stdout
    refused = run_cli(hsm, uri("token=blink;object=signing"), "pin:161803")
    assert refused.returncode != 0
    assert "token 'blink' refuses the PIN" in refused.stderr
    assert len(refused.stderr.splitlines()) == 2
    assert not [
        pin for pin in (PIN, "pin:161803") if pin in shown.stdout + shown.stderr + refused.stdout + refused.stderr
    ]


def test_a_locked_pin_is_said(hsm: SoftHsm, tmp_path: Path) -> None:
    shim = tmp_path / "locked.so"
    code = Path(__file__).parents[1] / "peers" / "locked_token.c"
    command = [peers.tool("cc", "gcc"), "-shared", "-fPIC", "-Wall", "-Werror", f'-DSOFTHSM="{module()}"']
    subprocess.run([*command, str(code), "-o", str(shim), "-ldl"], check=True)
    refused = run_cli(hsm, f"pkcs11:token=blink;object=signing?module-path={shim}", PIN)
    assert "otaseal: error: token 'blink' has locked its PIN" in refused.stderr
    assert len(refused.stderr.splitlines()) == 2


REFUSED = {
    "token=absent;object=signing": (ConfigError, "there is no token 'absent'"),
    "token=blink;serial=0;object=signing": (ConfigError, "there is no token 'blink'"),
    "token=blink;object=absent": (ConfigError, "there is no signing key 'absent' in token 'blink'"),
    "token=blink;object=signing;id=%02": (ConfigError, "there is no signing key 'signing'"),
    "token=same%20name;object=signing": (ConfigError, "there are 2 of token 'same name'"),
    "token=odd;object=twin": (ConfigError, "there are 2 of signing key 'twin'"),
    "token=odd;object=ec": (KeyRefusedError, "is of type EC, and devices verify RSA only"),
    "token=odd;object=short": (KeyRefusedError, "1024"),
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_there_or_not_usable_is_refused_by_name(path: str, hsm: SoftHsm, tmp_path: Path) -> None:
    family, message = REFUSED[path]
    with pytest.raises(family, match=message):
        signers.open_signer(uri(path), source(tmp_path)[0])


def test_an_id_tells_twins_apart(
    hsm: SoftHsm, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    where, _ = source(tmp_path)
    found = [signers.open_signer(uri(f"token=odd;object=twin;id={x}"), where).public_key for x in ("%03", "%04")]
    assert [key.public_numbers() for key in found] == [
        key.public_key().public_numbers() for key in (rsa_key, other_rsa_key)
    ]


def test_a_key_that_may_not_sign_is_refused(hsm: SoftHsm, tmp_path: Path) -> None:
    import pkcs11 as driver

    token = driver.lib(module()).get_token(token_label="odd")
    with token.open(rw=True, user_pin=PIN) as session:
        capabilities = driver.MechanismFlag.DECRYPT | driver.MechanismFlag.ENCRYPT
        session.generate_keypair(driver.KeyType.RSA, 2048, label="decrypts", store=True, capabilities=capabilities)
    with pytest.raises(KeyRefusedError, match="'decrypts' in token 'odd' is not allowed to sign"):
        signers.open_signer(uri("token=odd;object=decrypts"), source(tmp_path)[0])


def test_a_missing_module_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    where, asked = source(tmp_path)
    with pytest.raises(ConfigError, match=r"module '.*absent\.so' does not exist"):
        signers.open_signer("pkcs11:token=blink;object=signing?module-path=absent.so", where)
    (tmp_path / "garbage.so").write_bytes(b"no module")
    with pytest.raises(SystemFaultError, match="token 'blink' failed"):
        signers.open_signer("pkcs11:token=blink;object=signing?module-path=garbage.so", where)
    assert not asked


def test_a_missing_package_comes_with_the_command_that_installs_it(
    hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = uri("token=blink;object=signing")
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(SystemFaultError, match="'python-pkcs11'") as refusal:
        signers.open_signer(key, source(tmp_path)[0])
    assert f'"{sys.executable}" -m pip install python-pkcs11' in refusal.value.hint


MODULE = "?module-path=/m.so"
WRONG_URIS = {
    f"token=t;object=o{MODULE}&pin-value=1234": "pin-value",
    "token=t;object=o?pin-value=1234": "pin-value",
    f"token=t;object=o{MODULE};pin-value=1234": "pin-value",
    f"token=t;object=o{MODULE}&pin-source=|cat pin": "a program",
    "token=t;object=o": "names no module",
    "token=t;object=o?module-name=softhsm2": "module-name",
    f"object=o{MODULE}": "no token or no key",
    f"token=t{MODULE}": "no token or no key",
    f"token=t;object=o;token=u{MODULE}": "'token' twice",
    f"token=;object=o{MODULE}": "says nothing",
    f"token=t;objekt=o{MODULE}": "'objekt'",
    f"token=t;object=o;slot-id=3{MODULE}": "'slot-id'",
    f"token=t;object=o;type=public{MODULE}": "'public'",
    f"token=t;object={'o' * 3000}{MODULE}": "characters",
}


@pytest.mark.parametrize("rest", WRONG_URIS)
def test_wrong_uris_are_refused_and_never_show_a_pin(rest: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=WRONG_URIS[rest]) as refusal:
        signers.open_signer("pkcs11:" + rest, source(tmp_path)[0])
    assert "1234" not in refusal.value.message + refusal.value.hint


@given(st.text(alphabet=st.sampled_from("tokenbjcidpmule-ahsrvf=;?&%0A|/ "), max_size=60) | st.text(max_size=30))
def test_any_uri_parses_or_is_a_wrong_setting(text: str) -> None:
    for rest in (text, f"token=t;object=o;{text}{MODULE}", f"token=t;object=o{MODULE}&{text}"):
        with contextlib.suppress(ConfigError):
            parsed = pkcs11.parse(rest, Path("/project"))
            assert parsed.token
            assert parsed.label is not None or parsed.id is not None


def test_the_identity_is_the_uris_and_touches_no_token(tmp_path: Path) -> None:
    def identity(uri: str) -> str:
        return key_uri.identity(uri, tmp_path, {})

    absent = "pkcs11:token=t;object=o?module-path=/absent.so"
    assert identity(absent) == identity(absent)
    assert identity(absent) != identity(absent.replace("=o", "=p"))
    assert key_uri.public_key_path(absent, tmp_path) is None
