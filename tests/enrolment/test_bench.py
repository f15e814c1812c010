"""A device at the bench, over a real pyserial on a pseudo-terminal: enrolled, or nothing done half."""

from __future__ import annotations

import os
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from otaseal.enrolment import bench
from otaseal.enrolment.bench import Signing
from otaseal.enrolment.port import Port
from otaseal.errors import InputError, OtasealError, SystemFaultError
from otaseal.pki import KeyType, Role, store
from otaseal.pki.store import Store
from support.enrolling import MAC, SerialDevice
from support.killed_at import NOW

BAUD = 115200


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signing:
    """An authority; and a host that does not wait as long as for a real board."""
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))
    monkeypatch.setattr(bench, "HELLO_SECONDS", 0.3)
    monkeypatch.setattr(bench, "TAKE_SECONDS", 1.0)
    return Signing(Store.create(tmp_path / "pki", "blink", NOW), 90)


def enroll(device: SerialDevice, signing: Signing | None) -> bench.Enrolled:
    with Port(device.port, BAUD) as opened:
        return bench.enroll(opened, signing, None)


def test_a_device_gets_a_certificate_for_its_own_key(signing: Signing) -> None:
    with SerialDevice() as device:
        done = enroll(device, signing)
    assert done.certificate is not None
    assert device.certificate == done.certificate.der
    assert set(device.received[:-1]) == {"otaseal hello"}
    assert device.received[-1].startswith("otaseal certificate ")
    (entry,) = signing.store.list()
    assert (entry.name, entry.serial, entry.revoked) == (MAC, done.certificate.serial, None)
    assert done.lines()[0] == f"enrolled {MAC}"


def test_a_device_without_an_authority_gets_no_certificate(signing: Signing) -> None:
    with SerialDevice() as device:
        assert enroll(device, None).certificate is None
    assert set(device.received) == {"otaseal hello"}


def test_a_board_that_is_reset_and_prints_is_asked_again(signing: Signing) -> None:
    """The boot loader's output is at another speed: garbage, without an end."""
    noise = b"\x00\xff\x8e\n ets Jan  8 2013\r\n" + b"x" * 5000 + b"\notaseal hello\nWiFi connected\r\n"
    with SerialDevice(deaf=2, chatter=noise) as device:
        assert enroll(device, signing).certificate is not None
    assert device.received.count("otaseal hello") >= 3


@pytest.mark.parametrize("verdict", [None, b"otaseal o", b"otaseal error 51"])
def test_a_certificate_is_sent_until_the_device_says_that_it_has_it(verdict: bytes | None, signing: Signing) -> None:
    """It came in part, not at all, or only its answer was lost: the device cannot know, and says hello in between."""
    with SerialDevice(verdicts=(verdict, verdict, b"otaseal ok")) as device:
        done = enroll(device, signing)
    assert done.certificate is not None
    assert device.certificate == done.certificate.der
    assert [line.split(" ")[1] for line in device.received[-5:]] == ["certificate", "hello"] * 2 + ["certificate"]
    assert [entry.revoked for entry in signing.store.list()] == [None]


@pytest.mark.parametrize(
    ("verdict", "tries", "said"),
    [
        (b"otaseal error 44", 1, "refuses with error 44: its filesystem is full or failed"),
        (b"otaseal error 7", 1, "refuses with error 7"),
        (b"otaseal ok?", bench.TRIES, "does not say that it has its certificate, which was sent 4 times"),
        (None, bench.TRIES, "does not say that it has its certificate, which was sent 4 times"),
        (b"otaseal ok 1", 1, "the line 'otaseal ok ...' of the device is damaged"),
        (b"otaseal error 0", 1, "the line 'otaseal error ...' of the device is damaged"),
        (b"otaseal error 51", bench.TRIES, "refuses with error 51: what came is no certificate for its key"),
    ],
)
def test_a_certificate_that_did_not_arrive_is_revoked(
    verdict: bytes | None, tries: int, said: str, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "TAKE_SECONDS", 0.5)
    with SerialDevice(verdicts=(verdict,)) as device, pytest.raises(OtasealError) as failed:
        enroll(device, signing)
    assert len([line for line in device.received if "certificate" in line]) == tries
    (entry,) = signing.store.list()
    assert entry.revoked is not None
    assert said in failed.value.message
    assert failed.value.message.endswith(f"; its certificate {entry.serial} is revoked")
    assert (signing.store.directory / "device-ca" / "crl.pem").exists()
    with SerialDevice() as device:
        assert enroll(device, signing).certificate is not None


def test_the_certificate_before_stays_when_the_next_one_did_not_arrive(signing: Signing) -> None:
    with SerialDevice() as device:
        first = enroll(device, signing).certificate
    with SerialDevice(verdicts=(b"otaseal error 44",)) as device, pytest.raises(InputError):
        enroll(device, signing)
    assert first is not None
    assert [entry.serial for entry in signing.store.list() if entry.revoked is None] == [first.serial]


def test_a_certificate_that_the_device_may_have_is_not_revoked(signing: Signing) -> None:
    """The device kept its key, and was enrolled with it before: it gets the same again."""
    with SerialDevice() as device:
        key = device.key
        first = enroll(device, signing).certificate
    again = SerialDevice(verdicts=(b"otaseal error 44",))
    again.key = key
    with again, pytest.raises(InputError) as failed:
        enroll(again, signing)
    assert "revoked" not in failed.value.message
    assert first is not None
    assert again.certificate == first.der
    assert [entry.revoked for entry in signing.store.list()] == [None]


def test_ctrl_c_leaves_no_valid_certificate(signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with SerialDevice() as device:
        monkeypatch.setattr(bench, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            enroll(device, signing)
    assert [entry.revoked is not None for entry in signing.store.list()] == [True]


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.mark.parametrize("said", ["other name", "other key", "error 3", "half"])
def test_what_a_device_must_not_say_signs_nothing(said: str, signing: Signing) -> None:
    device = SerialDevice()
    line = device.introduce()
    other = ec.generate_private_key(ec.SECP256R1())
    wrong = {
        "other name": line.replace(MAC.replace(":", "").lower().encode(), b"5ccf7f000009"),
        "other key": line[:-120] + SerialDevice().introduce()[-120:],
        "error 3": b"otaseal error 3",
        "half": line[:150],
    }
    assert point(other) != point(device.key)
    device.introduction = wrong[said]
    with device, pytest.raises(InputError):
        enroll(device, signing)
    assert signing.store.list() == ()
    assert set(device.received) == {"otaseal hello"}


@pytest.mark.parametrize(("introduction", "said"), [(b"hello world", "it prints, and does not answer"), (b"", "")])
def test_a_device_that_does_not_know_the_protocol(
    introduction: bytes, said: str, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ANSWER_SECONDS", 1.0)
    deaf = 0 if introduction else 1000
    with SerialDevice(introduction=introduction, deaf=deaf) as device, pytest.raises(SystemFaultError) as failed:
        enroll(device, signing)
    assert "no device answers" in failed.value.message
    assert (said or "nothing was received") in failed.value.message
    assert signing.store.list() == ()


@pytest.fixture
def line() -> Iterator[Callable[[], tuple[int, str]]]:
    """Return a function that makes a pseudo-terminal: the far end's descriptor, and the name of the port."""
    opened: list[int] = []

    def make() -> tuple[int, str]:
        controller, terminal = os.openpty()
        tty.setraw(terminal)
        opened.extend((controller, terminal))
        return controller, os.ttyname(terminal)

    yield make
    for descriptor in opened:
        os.close(descriptor)


def test_lines_are_bounded_in_length_and_time(line: Callable[[], tuple[int, str]]) -> None:
    far, name = line()
    with Port(name, BAUD) as opened:
        os.write(far, b"short\r\n" + b"y" * 3000)
        assert opened.read_line(bench.time.monotonic() + 5) == b"short"
        assert opened.read_line(bench.time.monotonic() + 0.3) is None, "no end yet"
        os.write(far, b"the end of it\nnext\n")
        assert opened.read_line(bench.time.monotonic() + 5) == b"next"
        assert opened.read_line(bench.time.monotonic()) is None


def test_a_port_that_is_not_there_and_one_that_goes_away(tmp_path: Path) -> None:
    with pytest.raises(SystemFaultError, match=r"none' cannot be opened: No such file or directory$"):
        Port(str(tmp_path / "none"), BAUD)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SystemFaultError, match="cannot be opened"):
        Port(str(tmp_path / "file"), BAUD)
    controller, terminal = os.openpty()
    tty.setraw(terminal)
    with Port(os.ttyname(terminal), BAUD) as opened:
        os.close(terminal)
        os.close(controller)  # as when the cable is pulled
        with pytest.raises(SystemFaultError, match="cannot be"):
            opened.read_line(bench.time.monotonic() + 5)
