"""`otaseal pki enroll`: what openssl asks for, from files; a device on a serial line; every refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from otaseal.enrolment import bench
from support import peers
from support.command import TOOLS, Command, otaseal, process
from support.enrolling import MAC, SerialDevice, csr
from support.pki_store import PASSPHRASE, made_once, store

__all__ = ["made_once", "otaseal", "store"]
OTHER = "5C:CF:7F:00:00:02"
KEY = ec.generate_private_key(ec.SECP256R1())


def requested(folder: Path, name: str = MAC) -> Path:
    """Return the file of a request that the real openssl makes, in PEM."""
    openssl = peers.tool("openssl", "openssl")
    path = folder / f"{name[-1]}.csr"
    command = [openssl, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", f"{name[-1]}.key", "-subj", f"/CN={name}", "-out", path.name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return path


def listed(otaseal: Command) -> dict[str, str]:
    """Return the states of the devices' certificates by serial number, as `pki list` says."""
    rows = otaseal("pki", "list", "--json").succeeded().json["issued"]
    return {row["serial"]: row["state"] for row in rows if row["role"] == "device"}


def test_requests_in_files_are_signed_listed_replaced_and_revoked(
    store: Path, otaseal: Command, tmp_path: Path
) -> None:
    files = [requested(tmp_path), requested(tmp_path, OTHER)]
    rows = otaseal("pki", "enroll", *files, "--out", "made", "--days", "30", "--json").succeeded().json
    assert [row["name"] for row in rows] == [MAC, OTHER]
    for row, request in zip(rows, files, strict=True):
        certificate = x509.load_der_x509_certificate(Path(row["certificate"]).read_bytes())
        assert certificate.public_key() == x509.load_pem_x509_csr(request.read_bytes()).public_key()
        pem = Path(row["certificate"]).with_suffix(".pem")
        pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        root = store / "device-ca" / "certificate.pem"
        verify = [peers.tool("openssl", "openssl"), "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root]
        subprocess.run([*verify, pem], check=True, capture_output=True)
    first = rows[0]["serial"]
    assert otaseal("pki", "enroll", files[0], "--json").succeeded().json[0]["serial"] == first, "the same again"
    second = otaseal("pki", "enroll", requested(tmp_path), "--json").succeeded().json[0]["serial"]
    assert listed(otaseal) == {first: "replaced", rows[1]["serial"]: "valid", second: "valid"}
    assert "revoked 2 certificates of the device" in otaseal("pki", "revoke", MAC).succeeded().out
    assert listed(otaseal) == {first: "revoked", rows[1]["serial"]: "valid", second: "revoked"}


def test_what_is_due_is_the_devices_own_business(store: Path, otaseal: Command, tmp_path: Path) -> None:
    """It asks for the next certificate itself: nobody here has its key."""
    otaseal("pki", "enroll", requested(tmp_path), "--days", "2").succeeded()
    otaseal("pki", "renew", MAC).failed(1, "has its key in the device")
    assert "otaseal pki enroll" in otaseal("pki", "renew", MAC).err
    assert MAC not in otaseal("pki", "renew", "--role", "operator").succeeded().out


def test_one_bad_file_and_nothing_is_signed(store: Path, otaseal: Command, tmp_path: Path) -> None:
    good, bad = requested(tmp_path), tmp_path / "bad.csr"
    bad.write_bytes(csr(ec.generate_private_key(ec.SECP384R1())))
    otaseal("pki", "enroll", good, bad).failed(1, f"'{bad}': the certificate request is for a key that is not on P-256")
    otaseal("pki", "enroll", good, tmp_path / "none.csr").failed(1, "is not a file")
    bad.write_bytes(bytes(10_000))
    otaseal("pki", "enroll", bad).failed(1, "is larger than")
    otaseal("pki", "enroll", good, "--passphrase-file", bad).failed(1, "")
    assert listed(otaseal) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a.csr", "--yes"], "--yes is for requests from a server, and these are from files"),
        (["a.csr", "--port", "/dev/ttyUSB0"], "'a.csr' and --port '/dev/ttyUSB0' are given"),
        (["--port", "/dev/ttyUSB0", "--every", "10m"], "--every is for requests from a server"),
        (["--port", "/dev/ttyUSB0", "--out", "x"], "--out is for requests from files"),
        (["--renewals", "--only", "key"], "--only is for requests from --port"),
        (["--every", "10"], "'10' is not a time"),
        (["--days", "1"], "'1' is not a valid number of days"),
        (["--yes"], "no update server is named"),
        (["--every", "10m", "--server", "https://localhost:1", "--product", "blink"], "nobody is asked"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str, store: Path, otaseal: Command) -> None:
    otaseal("pki", "enroll", *options).failed(2, message)


def test_a_device_on_a_serial_line(store: Path, otaseal: Command) -> None:
    """Without a server its key goes nowhere, and it gets a certificate by the only store there is."""
    with SerialDevice(chatter=b"booting\r\n") as device:
        done = otaseal("pki", "enroll", "--port", device.port, "--baud", "9600").succeeded()
    assert f"waiting for the device at {device.port}, 9600 baud\nenrolled {MAC}\n" in done.out
    assert device.certificate is not None
    assert device.proof_key.hex() not in done.out + done.err
    assert list(listed(otaseal).values()) == ["valid"]


def test_a_device_that_refuses_its_certificate(store: Path, otaseal: Command) -> None:
    with SerialDevice(verdicts=(b"otaseal error 44",)) as device:
        failed = otaseal("pki", "enroll", "--port", device.port, "--json").failed(1, "refuses with error 44")
    assert "is revoked" in failed.err
    assert list(listed(otaseal).values()) == ["revoked"]


def test_nothing_answers(store: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ANSWER_SECONDS", 0.5)
    with SerialDevice(deaf=100) as device:
        otaseal("pki", "enroll", "--port", device.port).failed(3, "no device answers")
    otaseal("pki", "enroll", "--port", "/dev/none").failed(3, "the serial port '/dev/none' cannot be opened")
    assert listed(otaseal) == {}


def test_without_authorities_and_server_there_is_nothing_to_give(otaseal: Command, tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "empty")}
    with SerialDevice() as device:
        alone = process("pki", "enroll", "--port", device.port, cwd=tmp_path, **environment)
        alone.failed(2, "there is nothing to enrol a device with")
        wanted = ("pki", "enroll", "--port", device.port, "--only", "certificate", "--product", "blink")
        process(*wanted, cwd=tmp_path, **environment).failed(1, "is not a complete store of authorities")
    assert device.received == []


WITHOUT_PYSERIAL = """
import sys
sys.modules["serial"] = None if sys.argv.pop(1) == "none" else __import__("json")
from otaseal.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("installed", ["none", "another"])
def test_without_pyserial_it_says_what_to_install(installed: str, store: Path) -> None:
    """PyPI has another package that is imported as `serial`: that one does not do."""
    command = [sys.executable, "-c", WITHOUT_PYSERIAL, installed, "pki", "enroll", "--port", "/dev/ttyUSB0", "--json"]
    environment = {"PYTHONPATH": str(TOOLS), "XDG_CONFIG_HOME": str(store.parents[2]), "PATH": ""}
    environment["OTASEAL_PASSPHRASE"] = PASSPHRASE.decode()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=store)
    said = json.loads(done.stderr)
    assert (done.returncode, said["error"]) == (3, "a serial port needs the package 'pyserial'")
    assert said["hint"].endswith("-m pip install pyserial")
