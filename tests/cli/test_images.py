"""`otaseal sign`, `verify` and `inspect`: what succeeds is true, and a failure leaves nothing that looks like it."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest
from otaseal.image.signing_header import embedded_key
from otaseal.keys import signers
from otaseal.keys.public import fingerprint
from support import peers
from support.command import TOOLS, Command, otaseal, process, take_interrupts
from support.images import APP, CORES, build_image
from support.terminal import Terminal

__all__ = ["otaseal"]

SIGN = ("sign", "firmware.bin", "--key", "signing.key")
VERIFY = ("verify", "firmware.bin.signed", "--key", "signing.pub")


@pytest.fixture
def raw(rsa_key: rsa.RSAPrivateKey) -> bytes:
    return build_image(embedded=embedded_key(rsa_key.public_key()))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, raw: bytes, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> Path:
    """A folder with a firmware.bin, its gzip, and two pairs of keys."""
    (tmp_path / "firmware.bin").write_bytes(raw)
    (tmp_path / "firmware.gz").write_bytes(gzip.compress(raw))
    signers.write_key_pair(tmp_path / "signing.key", rsa_key, None)
    signers.write_key_pair(tmp_path / "other.key", other_rsa_key, None)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("firmware", ["firmware.bin", "firmware.gz"])
def test_what_is_signed_verifies_here_and_with_openssl(
    firmware: str, project: Path, otaseal: Command, rsa_key: rsa.RSAPrivateKey
) -> None:
    done = otaseal("sign", firmware, "--key", "signing.key", "--require-key").succeeded()
    signed = (project / f"{firmware}.signed").read_bytes()
    key = fingerprint(rsa_key.public_key())
    assert done.out == f"{firmware}.signed: {len(signed)} bytes, signed with RSA-2048 key {key}, and verified\n"
    (project / "payload").write_bytes(signed[:-260])
    (project / "signature").write_bytes(signed[-260:-4])
    command = [peers.tool("openssl", "openssl"), "dgst", "-sha256", "-verify", "signing.pub", "-signature", "signature"]
    subprocess.run([*command, "payload"], cwd=project, check=True, capture_output=True)
    assert "is good" in otaseal("verify", f"{firmware}.signed", "--key", "signing.pub").succeeded().out
    assert not [name for name in names(project) if name.endswith(".tmp")]


def test_json_says_the_same(project: Path, otaseal: Command, raw: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    key = fingerprint(rsa_key.public_key())
    output = {"output": "firmware.bin.signed", "size": len(raw) + 260, "bits": 2048, "key": key, "manifest": None}
    assert otaseal(*SIGN, "--json").succeeded().json == output
    verified = {"verified": True, "payload_size": len(raw), "key": key, "manifest": None}
    assert otaseal(*VERIFY, "--json").succeeded().json == verified


def test_keys_and_output_from_wherever_they_are(
    project: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_KEY", (project / "signing.key").read_text())
    monkeypatch.setenv("OTASEAL_PUBLIC_KEY", "signing.pub")
    for arguments in (("--key", "env:CI_KEY"), ("--key", "file:signing.key"), ("--key", f"file:{project}/signing.key")):
        otaseal("sign", "firmware.bin", *arguments, "-o", "out dir/f.signed").succeeded()
        otaseal("verify", "out dir/f.signed").succeeded()
    monkeypatch.setenv("OTASEAL_SIGNING_KEY", "other.key")
    otaseal("sign", "firmware.bin").succeeded()
    otaseal("verify", "firmware.bin.signed").failed(1, "signature")
    otaseal("sign", "firmware.bin", "--key", "signing.key").succeeded()
    otaseal("verify", "firmware.bin.signed").succeeded()


def test_without_a_key_nothing_is_signed_or_verified(project: Path, otaseal: Command) -> None:
    otaseal("sign", "firmware.bin").failed(2, "no signing key is given")
    otaseal("verify", "firmware.bin").failed(2, "no public key is given")
    otaseal("sign", "firmware.bin", "--key", "").failed(2, "no signing key is given")


def damaged(raw: bytes) -> bytes:
    return raw[: APP + 100] + bytes([raw[APP + 100] ^ 1]) + raw[APP + 101 :]


FAILURES = {
    "empty": (lambda raw: b"", SIGN, 1, "this is an empty file"),
    "no firmware": (lambda raw: b"\x7fELF" + raw, SIGN, 1, "this is an ELF file"),
    "of no known kind": (lambda raw: b"\x81" + raw, SIGN, 1, "0x81"),
    "damaged": (damaged, SIGN, 1, "own CRC"),
    "cut": (lambda raw: raw[:-32], SIGN, 1, "cut short"),
    "gzip with a byte behind": (lambda raw: gzip.compress(raw) + b"\0", SIGN, 1, "1 byte behind"),
    "two gzips": (lambda raw: gzip.compress(raw) * 2, SIGN, 1, "second member"),
    "gzip for 2.7.4": (lambda raw: gzip.compress(build_image(core="2.7.4")), SIGN, 1, "core 2.7.4"),
    "too large": (lambda raw: raw + bytes(16 * 1024 * 1024), SIGN, 1, "larger than"),
    "no key": (bytes, ("sign", "firmware.bin", "--key", "missing.key"), 1, "does not exist"),
    "public key": (bytes, ("sign", "firmware.bin", "--key", "pub"), 1, "is a public key"),
    "wrong scheme": (bytes, ("sign", "firmware.bin", "--key", "http://k"), 2, "no known scheme"),
    "key not in it": (lambda raw: build_image(), (*SIGN, "--require-key"), 1, "does not contain the public key"),
    "other key in it": (
        bytes,
        ("sign", "firmware.bin", "--key", "other.key", "--require-key"),
        1,
        "another public key",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("stale", [False, True])
def test_a_failure_leaves_no_signed_image_behind(
    failure: str, stale: bool, project: Path, raw: bytes, otaseal: Command
) -> None:
    change, arguments, code, message = FAILURES[failure]
    (project / "pub").write_bytes((project / "signing.pub").read_bytes())
    (project / "pub").chmod(0o600)
    if stale:
        otaseal(*SIGN).succeeded()
    (project / "firmware.bin").write_bytes(change(raw))
    before = names(project)
    otaseal(*arguments).failed(code, message)
    assert names(project) == before - {"firmware.bin.signed"}


def test_a_missing_firmware_leaves_no_stale_signed_image(project: Path, otaseal: Command) -> None:
    otaseal(*SIGN).succeeded()
    (project / "firmware.bin").unlink()
    otaseal(*SIGN).failed(1, "firmware 'firmware.bin' is not a file")
    assert not (project / "firmware.bin.signed").exists()


@pytest.mark.parametrize("nameless", [".", "/", ""])
@pytest.mark.parametrize(
    "command", [("sign", "--key", "signing.key"), ("delta", "make", "firmware.bin"), ("provenance",)]
)
def test_what_has_no_name_is_no_file(otaseal: Command, command: tuple[str, ...], nameless: str) -> None:
    options = ("--product", "blink", "--key", "signing.key") if command[0] == "provenance" else ()
    otaseal(*command, nameless, *options).failed(1, "is not a file")


def test_what_is_no_signed_image_is_never_overwritten(project: Path, otaseal: Command) -> None:
    for precious in ("signing.key", "signing.pub", "firmware.gz"):
        content = (project / precious).read_bytes()
        otaseal(*SIGN, "-o", precious).failed(1, "exists and is not a signed image")
        assert (project / precious).read_bytes() == content
    otaseal(*SIGN, "-o", ".").failed(1, "is not a file")


def test_the_input_is_never_the_output(project: Path, raw: bytes, otaseal: Command) -> None:
    otaseal(*SIGN).succeeded()
    signed = (project / "firmware.bin.signed").read_bytes()
    (project / "link").symlink_to("firmware.bin.signed")
    os.link(project / "firmware.bin.signed", project / "hard")
    for output in ("firmware.bin.signed", "link", "hard"):
        otaseal("sign", "firmware.bin.signed", "--key", "signing.key", "-o", output).failed(
            2, "overwrite its own input"
        )
        assert (project / "firmware.bin.signed").read_bytes() == signed
    otaseal(*SIGN, "-o", "firmware.bin").failed(2, "overwrite its own input")
    assert (project / "firmware.bin").read_bytes() == raw


def test_signed_input_is_refused_by_name(project: Path, otaseal: Command) -> None:
    otaseal(*SIGN).succeeded()
    otaseal("sign", "firmware.bin.signed", "--key", "signing.key").failed(1, "")
    assert not (project / "firmware.bin.signed.signed").exists()
    assert (project / "firmware.bin.signed").exists()


def test_what_does_not_verify(project: Path, otaseal: Command) -> None:
    otaseal(*SIGN).succeeded()
    signed = (project / "firmware.bin.signed").read_bytes()
    otaseal("verify", "firmware.bin.signed", "--key", "other.pub").failed(1, "signature does not fit image and key")
    for content, message in (
        (damaged(signed), "signature does not fit image and key"),
        (signed[:-1], "no signature trailer"),
        (signed[:-260], "no signature trailer"),
        (signed + b"\0", "no signature trailer"),
        (signed[-260:], "empty payload"),
        (signed[-100:], "cut short"),
        (b"", "this is an empty file"),
        (b"\x7fELF" + bytes(400), "this is an ELF file"),
    ):
        (project / "firmware.bin.signed").write_bytes(content)
        otaseal(*VERIFY).failed(1, message)
    otaseal("verify", "missing", "--key", "signing.pub").failed(1, "image 'missing' is not a file")
    otaseal("verify", "firmware.bin", "--key", "missing").failed(1, "public key 'missing' is not a file")


def test_a_good_signature_that_a_device_refuses_does_not_verify(
    project: Path, raw: bytes, otaseal: Command, rsa_key: rsa.RSAPrivateKey
) -> None:
    payload = raw + b"\0"  # F8
    signature = signers.RsaSigner(rsa_key).sign(payload)
    (project / "firmware.bin.signed").write_bytes(payload + signature + len(signature).to_bytes(4, "little"))
    done = otaseal(*VERIFY).failed(1, "a device with core 3.1.2 would not run this update")
    assert "no multiple of 4" in done.err


@pytest.mark.parametrize(
    ("firmware", "kind"),
    [
        ("firmware.bin", "raw"),
        ("firmware.gz", "gzip"),
        ("firmware.bin.signed", "signed raw"),
        ("firmware.gz.signed", "signed gzip"),
    ],
)
def test_inspect_tells_what_it_is(firmware: str, kind: str, project: Path, otaseal: Command, raw: bytes) -> None:
    for name in ("firmware.bin", "firmware.gz"):
        otaseal("sign", name, "--key", "signing.key").succeeded()
    given = otaseal("inspect", firmware, "--key", "other.pub", "--key", "signing.pub", "--json").succeeded().json
    assert given["kind"] == kind
    assert given["size"] == (project / firmware).stat().st_size
    assert given["image"]["core_release"] == "3.1.2"
    assert given["signature"] == ({"size": 256, "key": "signing.pub"} if "signed" in kind else None)
    assert set(given["stock_cores"]) == {*CORES, "head"}
    assert given["stock_cores"]["3.1.2"]["boots"]
    text = otaseal("inspect", firmware, "--key", "signing.pub").succeeded().out
    assert kind in text
    assert ("made by key 'signing.pub'" in text) == ("signed" in kind)


def test_inspect_fails_when_none_of_the_keys_fits(otaseal: Command) -> None:
    otaseal(*SIGN).succeeded()
    for extra in ((), ("--json",)):
        done = otaseal("inspect", "firmware.bin.signed", "--key", "other.pub", *extra)
        done.failed(1, "none of the keys given made the signature of 'firmware.bin.signed'")
        assert "signed raw" in done.out
    otaseal("inspect", "firmware.bin.signed").succeeded()


def test_inspect_looks_at_anything(project: Path, otaseal: Command) -> None:
    (project / "anything").write_bytes(b"\x81 anything")
    assert "problem" in otaseal("inspect", "anything").failed(1, "begins with 0x81").out
    (project / "huge").write_bytes(bytes(16 * 1024 * 1024 + 1))
    otaseal("inspect", "huge").failed(1, "larger than")
    otaseal("inspect", ".").failed(1, "is not a file")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "caf\udce9"])
def test_names_neither_break_the_two_lines_nor_steer_the_terminal(name: str, project: Path, otaseal: Command) -> None:
    done = otaseal("verify", name, "--key", "signing.pub").failed(1, "is not a file")
    assert len(done.err.splitlines()) == 2
    assert done.err.replace("\n", "").isprintable()
    (project / "firmware.bin").rename(project / name)
    done = process("sign", name, "--key", "signing.key", cwd=project)
    assert (done.code, done.err) == (0, "")


def test_interrupting_a_passphrase_prompt_leaves_no_signed_image(
    project: Path, otaseal: Command, rsa_key: rsa.RSAPrivateKey
) -> None:
    otaseal(*SIGN).succeeded()
    signers.write_key_pair(project / "locked.key", rsa_key, b"geheim")
    command = [
        sys.executable,
        "-m",
        "otaseal",
        "sign",
        str(project / "firmware.bin"),
        "--key",
        str(project / "locked.key"),
    ]
    with Terminal(command, {"PYTHONPATH": str(TOOLS)}) as terminal:
        terminal.expect(": ")
        terminal.send(b"\x03")
        assert "Traceback" not in terminal.rest()
        assert terminal.returncode == 130
    assert not (project / "firmware.bin.signed").exists()


def test_a_signal_from_outside_is_an_interrupt_too(project: Path) -> None:
    """The firmware is a pipe that nobody writes to, so that the command certainly waits."""
    os.mkfifo(project / "pipe")
    command = [sys.executable, "-m", "otaseal", "inspect", "pipe"]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    with subprocess.Popen(
        command, cwd=project, env=environment, stderr=subprocess.PIPE, preexec_fn=take_interrupts
    ) as running:
        try:
            writing = open_when_read(project / "pipe", running)
            err = interrupted(running)
            os.close(writing)
        finally:
            running.kill()  # else its end would be waited for without end
    assert (running.returncode, err) == (130, b"")


def interrupted(running: subprocess.Popen[bytes]) -> bytes:
    """Interrupt until it ends, as people do, and return its errors: one that comes between two steps may be lost."""
    for _ in range(12):
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=5)[1]
    raise AssertionError("it does not end")


def open_when_read(pipe: Path, reader: subprocess.Popen[bytes]) -> int:
    """Return a descriptor to write to `pipe` as soon as `reader` has opened its end."""
    for _ in range(6000):
        assert reader.poll() is None, "the command ended before it read"
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    raise AssertionError("the command does not read")


MANIFEST = ("--product", "blink", "--board", "d1_mini", "--version", "1.2.3", "--security-counter", "7")


def test_a_manifest_from_the_command_line(project: Path, otaseal: Command, raw: bytes) -> None:
    os.utime(project / "firmware.bin", (1_700_000_000, 1_700_000_000))
    said = otaseal(*SIGN, *MANIFEST, "--json").succeeded().json["manifest"]
    expected = {"kind": "firmware", "product": "e14a51fded1fb9b4", "board": manifest.name_id("d1_mini").hex()}
    expected |= {"version": "1.2.3", "security_counter": 7, "build_time": 1_700_000_000, "flash_mode": 2}
    assert said == expected
    claim = manifest.Claim("blink", "d1_mini", "1.2.3", 7, 1_700_000_000)
    assert (project / "firmware.bin.signed").read_bytes()[:-260] == manifest.attach(raw, manifest.make(claim, 2))
    assert otaseal(*VERIFY, "--json").succeeded().json["manifest"] == expected
    assert "manifest: product e14a51fded1fb9b4, board " in otaseal(*VERIFY).succeeded().out
    assert "manifest: product 'blink', board " in otaseal(*VERIFY, "--product", "blink").succeeded().out
    inspected = otaseal("inspect", "firmware.bin.signed", "--key", "signing.pub").succeeded().out
    assert "security counter 7, built 2023-11-14T22:13:20Z" in inspected


def test_names_that_are_known_are_said_in_the_place_of_ids(
    project: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    otaseal(*SIGN, *MANIFEST).succeeded()
    shown = ("inspect", "firmware.bin.signed")
    assert "product e14a51fded1fb9b4, board " in otaseal(*shown).succeeded().out
    monkeypatch.setenv("OTASEAL_PRODUCT", "blink")
    assert "product 'blink', board " in otaseal(*shown).succeeded().out
    monkeypatch.delenv("OTASEAL_PRODUCT")
    (project / "platformio.ini").write_text("[env:d1]\nboard = d1_mini\ncustom_otaseal_product = blink\n")
    for command in (shown, VERIFY):
        assert "product 'blink', board 'd1_mini', version 1.2.3" in otaseal(*command).succeeded().out
    (project / "platformio.ini").write_text("[env:d1]\nboard = d1_mini\ncustom_otaseal_produkt = blink\n")
    otaseal(*shown).succeeded()


def test_the_environment_names_product_counter_and_time(
    project: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OTASEAL_PRODUCT", "blink"), ("OTASEAL_SECURITY_COUNTER", "9"), ("OTASEAL_VERSION", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    first = otaseal(*SIGN, "--json").succeeded().json["manifest"]
    assert (first["security_counter"], first["version"], first["build_time"]) == (9, "2", 1_000_000_000)
    assert first["board"] is None
    signed = (project / "firmware.bin.signed").read_bytes()
    os.utime(project / "firmware.bin", (1, 1))
    otaseal(*SIGN).succeeded()
    assert (project / "firmware.bin.signed").read_bytes() == signed, "a build can be repeated to the byte"


def test_a_manifest_that_cannot_be_is_refused_before_anything_is_signed(project: Path, otaseal: Command) -> None:
    for option in ("--board", "--version", "--security-counter"):
        otaseal(*SIGN, option, "1").failed(2, "no product is given")
    otaseal(*SIGN, "--product", "Blink!").failed(2, "--product 'Blink!' is not a valid name")
    for counter in ("-1", "4294967296", "1.5", "0x10", "99999999999999999999"):
        otaseal(*SIGN, "--product", "blink", f"--security-counter={counter}").failed(2, "--security-counter is ")
    otaseal(*SIGN, "--product", "blink", "--version", "1.0 \u00e4").failed(1, "version ")
    otaseal(*SIGN, *MANIFEST).succeeded()
    (project / "firmware.bin").write_bytes((project / "firmware.bin.signed").read_bytes()[:-260])
    otaseal(*SIGN, *MANIFEST).failed(1, "the payload has a manifest already")
    assert "firmware.bin.signed" not in names(project)


@pytest.mark.parametrize("method", ["gzip", "zopfli"])
def test_compressed_on_the_way(method: str, project: Path, otaseal: Command, raw: bytes) -> None:
    otaseal(*SIGN, *MANIFEST, "--compress", method).succeeded()
    signed = (project / "firmware.bin.gz.signed").read_bytes()
    assert gzip.decompress(signed[:-260]) == raw
    assert otaseal("verify", "firmware.bin.gz.signed", "--key", "signing.pub", "--json").succeeded().json["manifest"]
    (project / "firmware.bin").write_bytes(build_image(core="2.7.4"))
    otaseal(*SIGN, "--compress", method).failed(1, "leaves devices unable to start")
    assert "firmware.bin.gz.signed" not in names(project)


def test_what_cannot_be_meant_takes_no_signed_image_away(otaseal: Command, project: Path) -> None:
    otaseal(*SIGN).succeeded()
    signed = (project / "firmware.bin.signed").read_bytes()
    otaseal("sign", "firmware.bin").failed(2, "no signing key is given")
    otaseal(*SIGN, "--version", "1.0").failed(2, "no product is given")
    assert (project / "firmware.bin.signed").read_bytes() == signed


def test_options_are_written_in_full_and_the_hint_names_the_command(otaseal: Command) -> None:
    refused = otaseal("sign", "firmware.bin", "--compres", "gzip").failed(2, "unrecognized arguments: --compres")
    assert refused.err.endswith("otaseal sign --help'\n")
