"""`otaseal key`: keys that openssl reads, made private, never replaced, and every other key refused by name."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from otaseal import cli
from otaseal.keys import signers
from otaseal.keys.public import fingerprint
from support import cas, peers
from support.command import TOOLS, Command, otaseal, process
from support.pico_images import build_image
from support.terminal import Terminal

__all__ = ["otaseal"]

COMMAND = [sys.executable, "-m", "otaseal"]


def openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    command = [peers.tool("openssl", "openssl"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def pair(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> Path:
    """The path of an encrypted signing key, whose passphrase is in the file `secret`."""
    (tmp_path / "secret").write_bytes(b"correct horse\n")
    path = tmp_path / "signing.key"
    signers.write_key_pair(path, rsa_key, b"correct horse")
    return path


def test_a_new_key_from_a_passphrase_file(tmp_path: Path, otaseal: Command) -> None:
    (tmp_path / "secret").write_bytes(b"correct horse\n")
    before = os.umask(0)
    try:
        done = otaseal("key", "new", "my keys/blink.key", "--passphrase-file", "secret").succeeded()
    finally:
        os.umask(before)
    path = tmp_path / "my keys" / "blink.key"
    assert mode(path) == 0o600
    assert (
        openssl("pkey", "-in", path, "-passin", "pass:correct horse", "-pubout")
        == path.with_suffix(".pub").read_bytes()
    )
    assert names(tmp_path / "my keys") == ["blink.key", "blink.pub"]
    assert f"custom_otaseal_signing_key = file:{path}" in done.out
    assert "mode 0600, encrypted" in done.out
    assert not done.err


def test_a_new_key_from_the_variables(tmp_path: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTASEAL_PASSPHRASE", "from variable")
    made = otaseal("key", "new", "a.key", "--json").succeeded().json
    assert set(made) == {"private_key", "public_key", "type", "bits", "fingerprint"}
    openssl("pkey", "-in", tmp_path / "a.key", "-passin", "pass:from variable")
    (tmp_path / "secret").write_bytes(b"from file\n")
    monkeypatch.setenv("OTASEAL_PASSPHRASE_FILE", "secret")
    otaseal("key", "new", "b.key").succeeded()
    openssl("pkey", "-in", tmp_path / "b.key", "-passin", "pass:from file")
    assert otaseal("key", "show", "b.key").succeeded().out == otaseal("key", "show", "b.pub").succeeded().out


def test_a_new_key_of_3072_bits_without_a_passphrase(tmp_path: Path, otaseal: Command) -> None:
    done = otaseal("key", "new", "a.key", "--bits", "3072", "--no-passphrase").succeeded()
    assert "NOT encrypted" in done.out
    assert "RSA-3072" in done.out
    assert b"(3072 bit" in openssl("pkey", "-in", tmp_path / "a.key", "-pubout", "-text")


@pytest.mark.parametrize("taken", ["a.key", "a.pub"])
def test_a_key_is_never_replaced_and_nothing_is_asked_first(taken: str, tmp_path: Path, otaseal: Command) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    done = otaseal("key", "new", "a.key").failed(1, f"{taken}' exists already")
    assert "devices that trust" in done.err
    assert (names(tmp_path), (tmp_path / taken).read_bytes()) == ([taken], b"precious")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("a.key", "--bits", "1024"), 2, "1024"),
        (("a.key", "--bits", "8192"), 2, "8192"),
        (("a.key", "--bits", "many"), 2, "--bits"),
        (("a.pub",), 2, "name of a public key file"),
        ((".",), 1, "exists already"),
        (("~nobody-of-that-name/a.key",), 2, "unknown user"),
        (("a" * 300,), 3, "too long"),
        (("file/a.key",), 3, "cannot be written"),
        ((), 2, "path"),
    ],
)
def test_what_makes_no_key_leaves_nothing(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, otaseal: Command
) -> None:
    (tmp_path / "file").touch()
    extra = ("--no-passphrase",) if arguments else ()
    otaseal("key", "new", *arguments, *extra).failed(code, message)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("passphrase", [None, ""])
def test_no_key_is_made_in_the_clear_because_nobody_could_be_asked(passphrase: str | None, tmp_path: Path) -> None:
    environment = {} if passphrase is None else {"OTASEAL_PASSPHRASE": passphrase}
    process("key", "new", "a.key", cwd=tmp_path, **environment).failed(2, "no passphrase is given for 'a.key'")
    assert not names(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"a" * 1024 + b"\n"])
def test_a_passphrase_file_that_gives_none(content: bytes, tmp_path: Path, otaseal: Command) -> None:
    (tmp_path / "secret").write_bytes(content)
    otaseal("key", "new", "a.key", "--passphrase-file", "secret").failed(1, "passphrase")
    assert names(tmp_path) == ["secret"]


def at_terminal(tmp_path: Path, *arguments: str) -> Terminal:
    return Terminal([*COMMAND, "key", *arguments], {"PYTHONPATH": str(TOOLS), "HOME": str(tmp_path)})


def test_a_passphrase_typed_twice_encrypts_and_typed_once_unlocks(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    with at_terminal(tmp_path, "new", str(path)) as terminal:
        for _ in range(2):
            terminal.expect(": ")
            terminal.type("geheim")
        assert "geheim" not in terminal.rest()
        assert terminal.returncode == 0
    openssl("pkey", "-in", path, "-passin", "pass:geheim")
    with at_terminal(tmp_path, "show", str(path)) as terminal:
        terminal.expect(": ")
        terminal.type("geheim")
        assert "RSA-2048" in terminal.rest()
        assert terminal.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("key", "new", "b.key"), "no passphrase is given for "),
        (("key", "lock", "open.key"), "no passphrase is given for "),
        (("key", "unlock", "a.key"), "a.key' is locked"),
        (("key", "show", "a.key"), "a.key' is locked"),
        (("sign", "firmware.bin", "--key", "a.key"), "a.key' is locked"),
    ],
)
def test_who_wants_json_is_asked_for_no_passphrase(
    arguments: tuple[str, ...], message: str, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The fault: all but init asked at a terminal, in the middle of what a program reads."""
    signers.write_key_pair(tmp_path / "a.key", rsa_key, b"correct horse")
    signers.write_key_pair(tmp_path / "open.key", rsa_key, None)
    (tmp_path / "firmware.bin").write_bytes(build_image())
    before = names(tmp_path)
    whole = [str(tmp_path / part) if "." in part else part for part in arguments]
    environment = {"PYTHONPATH": str(TOOLS), "HOME": str(tmp_path), "OTASEAL_PASSPHRASE": ""}
    with Terminal([*COMMAND, *whole, "--json"], environment) as terminal:
        (line,) = terminal.rest().splitlines()
        assert terminal.returncode == 2
    error = json.loads(line)["error"]
    assert message in error
    assert error.endswith(", and --json asks no questions")
    assert names(tmp_path) == before


def test_passphrases_that_differ_make_no_key(tmp_path: Path) -> None:
    with at_terminal(tmp_path, "new", str(tmp_path / "a.key")) as terminal:
        for typed in ("geheim", "gehein") * 3:
            terminal.expect(": ")
            terminal.type(typed)
        assert "otaseal: error: the two passphrases differ\r\notaseal: hint: " in terminal.rest()
        assert terminal.returncode == 2
    assert not names(tmp_path)


@pytest.mark.parametrize(("press", "code"), [(b"\x03", 130), (b"\x04", 2)])
def test_interrupt_and_end_of_file_at_the_prompt_make_no_key(press: bytes, code: int, tmp_path: Path) -> None:
    with at_terminal(tmp_path, "new", str(tmp_path / "a.key")) as terminal:
        terminal.expect(": ")
        terminal.send(press)
        assert "Traceback" not in terminal.rest()
        assert terminal.returncode == code
    assert not names(tmp_path)


def test_show_says_what_openssl_says_for_both_halves(pair: Path, otaseal: Command) -> None:
    der = openssl("pkey", "-pubin", "-in", pair.with_suffix(".pub"), "-outform", "der")
    digest = openssl("dgst", "-sha256", "-r", stdin=der).split()[0].decode()
    for arguments in (("signing.pub",), ("signing.key", "--passphrase-file", "secret"), ("file:signing.pub",)):
        done = otaseal("key", "show", *arguments).succeeded()
        assert done.out == f"type         RSA-2048\nfingerprint  SHA256:{digest}\n"
        pem = otaseal("key", "show", *arguments, "--pem").succeeded().out
        assert pem.encode() == pair.with_suffix(".pub").read_bytes()
        shown = otaseal("key", "show", *arguments, "--json").succeeded().json
        assert shown == {"type": "RSA", "bits": 2048, "fingerprint": f"SHA256:{digest}", "pem": pem}


def test_show_takes_a_key_in_the_environment(
    rsa_key: rsa.RSAPrivateKey, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("CI_KEY", pem)
    assert fingerprint(rsa_key.public_key()) in otaseal("key", "show", "env:CI_KEY").succeeded().out


def test_show_refuses_a_wrong_passphrase_and_a_key_that_others_can_read(pair: Path, otaseal: Command) -> None:
    (pair.parent / "wrong").write_bytes(b"wrong\n")
    otaseal("key", "show", pair, "--passphrase-file", "wrong").failed(1, "cannot be unlocked")
    pair.chmod(0o644)
    otaseal("key", "show", pair, "--passphrase-file", "secret").failed(1, "readable by others")


def refusals(rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> dict[str, tuple[bytes, str]]:
    spki = {
        kind: cas.key(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for kind in ("P-256", "Ed25519", "RSA-1024")
    }
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    large = rsa_keys(4104).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {
        "EC": (spki["P-256"], "is of type EC, and devices verify RSA only"),
        "Ed25519": (spki["Ed25519"], "is of type Ed25519, and devices verify RSA only"),
        "RSA-1024": (spki["RSA-1024"], "1024 bits, which is too weak"),
        "RSA-4104": (large, "4104 bits, which is more than a device can verify"),
        "PKCS#1": (openssl("rsa", "-RSAPublicKey_out", stdin=pem), "is in PKCS#1 form"),
        "PKCS#1 DER": (openssl("rsa", "-RSAPublicKey_out", "-outform", "DER", stdin=pem), "not in SPKI form"),
        "private DER": (openssl("rsa", "-outform", "DER", stdin=pem), "is a private key"),
        "private DER, encrypted": (
            openssl("pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:x", stdin=pem),
            "is a private key",
        ),
        "certificate": (cas.pem(cas.root()), "is a certificate"),
        "certificate DER": (cas.root(), "is a certificate"),
        "garbage": (b"garbage", "is not a public key"),
        "empty": (b"", "is not a public key"),
    }


def test_show_and_verify_refuse_every_other_key_by_name(
    tmp_path: Path, otaseal: Command, rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    (tmp_path / "image").write_bytes(b"\xe9")
    for name, (content, message) in refusals(rsa_key, rsa_keys).items():
        (tmp_path / name).write_bytes(content)
        otaseal("key", "show", name).failed(1, message)
        otaseal("verify", "image", "--key", name).failed(1, message)
        otaseal("inspect", "image", "--key", name).failed(1, message)
    private = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "private").write_bytes(private)
    otaseal("verify", "image", "--key", "private").failed(1, "is a private key")


def test_show_says_that_there_is_no_key(tmp_path: Path, otaseal: Command) -> None:
    otaseal("key", "show", "missing.pub").failed(1, "does not exist")
    otaseal("key", "show", tmp_path).failed(1, "is not a file")
    otaseal("key", "show", "env:MISSING").failed(2, "environment variable 'MISSING'")
    otaseal("key", "show", "http://example.org/k").failed(2, "no known scheme")
    otaseal("key", "show", "a" * 300).failed(3, "too long")


def test_without_cryptography_the_way_to_get_it_is_said(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(TOOLS)!r}); from otaseal.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-I", "-S", "-c", code, "key", "new", str(tmp_path / "a.key"), "--no-passphrase"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "otaseal: error: the package 'cryptography' is missing",
        f'otaseal: hint: "{sys.executable}" -m pip install cryptography',
    ]
    assert not names(tmp_path)
    assert cli.main(["config"]) == 0
