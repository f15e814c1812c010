"""`pio run -t enroll` on the real PlatformIO, with a device on a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from otaseal.pki.store import Slot, Store
from support.enrolling import MAC, SerialDevice
from support.hooks import opt_in
from support.pio import FakeOtaDevice, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
LINES = [*opt_in("ship"), "monitor_speed = 115200", "custom_otaseal_product = blink"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The user's configuration, with the authorities of the product in their place."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Store.create(tmp_path / "config" / "otaseal" / "pki" / "blink", "blink", datetime.now(timezone.utc))


def test_a_device_on_the_cable_is_enrolled(project: MakeProject, home: Store) -> None:
    made = project(*LINES)
    with SerialDevice(deaf=1, chatter=b"booting\r\n") as device:
        run = made.run("-t", "enroll", "--upload-port", device.port)
    assert f"otaseal: waiting for the device at {device.port}, 115200 baud" in run.stdout
    assert f"otaseal: enrolled {MAC}" in run.stdout
    (entry,) = home.list()
    assert (entry.name, entry.revoked) == (MAC, None)
    assert device.certificate is not None
    assert device.proof_key.hex() not in run.output
    assert "enroll" in made.run("--list-targets").stdout
    assert not made.build("firmware.bin").exists(), "nothing is built for it"


def test_a_device_that_refuses_ends_the_run(project: MakeProject, home: Store) -> None:
    """Where uploads go over the air, the cable is that of the monitor."""
    with SerialDevice(verdicts=(b"otaseal error 2",)) as device:
        made = project(*LINES, "upload_port = 192.0.2.1", "upload_protocol = espota", f"monitor_port = {device.port}")
        run = made.run("-t", "enroll", check=False)
    assert "otaseal: error: the device refuses with error 2: no LittleFS; its certificate" in run.stderr
    assert "Traceback" not in run.output
    assert [entry.revoked is not None for entry in home.list()] == [True]


def test_what_is_uploaded_is_enrolled_afterwards(project: MakeProject, home: Store) -> None:
    """In the order of the command line, for all that SCons could do at once."""
    with FakeOtaDevice() as uploaded, SerialDevice() as device:
        lines = ["upload_protocol = espota", "upload_port = 127.0.0.1", f"upload_flags = --port={uploaded.port}"]
        made = project(*LINES, *lines, f"monitor_port = {device.port}")
        made.write("certs/ca.pem", home.certificate(Slot.SERVER).x509.public_bytes(Encoding.PEM))
        run = made.run("-t", "upload", "-t", "enroll", "-j", "4")
    assert run.stdout.index("otaseal: waiting for the device") > run.stdout.index("Uploading .pio")
    assert len(uploaded.uploads) == 1
    assert device.certificate is not None


def test_what_is_missing_is_said_before_the_port_is_opened(project: MakeProject, tmp_path: Path) -> None:
    made = project(*LINES)
    elsewhere = {"XDG_CONFIG_HOME": str(tmp_path / "empty")}
    run = made.run("-t", "enroll", "--upload-port", "/dev/none", env=elsewhere, check=False)
    assert "otaseal: error: there is nothing to enrol a device with" in run.stderr
    wanted = {**elsewhere, "OTASEAL_ENROLL": "certificate"}
    run = made.run("-t", "enroll", "--upload-port", "/dev/none", env=wanted, check=False)
    assert "is not a complete store of authorities" in run.stderr


def test_a_port_that_is_not_there(project: MakeProject, home: Store) -> None:
    run = project(*LINES).run("-t", "enroll", "--upload-port", "/dev/none", check=False)
    assert "otaseal: error: the serial port '/dev/none' cannot be opened" in run.stderr
    assert home.list() == ()
