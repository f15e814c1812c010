"""The hook pack_certs on the real PlatformIO: certificates are in the image before it is built, and never a key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import ar
from otaseal.pki import Authority, Role
from support.filesystem import read_file
from support.hooks import opt_in, write_key
from support.pio import FakeOtaDevice, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
LITTLEFS = "board_build.filesystem = littlefs"
NOW = datetime.now(timezone.utc)


def authority(product: str = "blink", now: datetime = NOW) -> Authority:
    return Authority.create(role=Role.SERVER, product=product, now=now)


def certs_in(image: bytes) -> list[bytes]:
    """Read the image as the device does, and return the DER certificates of its /certs.ar."""
    return [member.data for member in ar.device_view(read_file(image, "/certs.ar")).indexed]


def test_certificates_are_packed_before_the_image_and_followed_when_they_change(
    project: MakeProject, flash: Path
) -> None:
    first, second = authority(), authority()
    made = project(*opt_in("pack_certs"), LITTLEFS, f"upload_port = {flash}", name="with spaces")
    made.write("certs/one.pem", first.certificate_pem)
    image, packed = made.build("littlefs.bin"), made.path / "data" / "certs.ar"

    run = made.run("-t", "uploadfs")
    assert "certs.ar holds 1 CA certificate, written" in run.stdout
    assert certs_in(image.read_bytes()) == [first.certificate_der]
    assert flash.read_bytes()[0x300000:].startswith(image.read_bytes())
    before = packed.stat().st_mtime_ns

    assert "unchanged" in made.run("-v", "-t", "buildfs").stdout
    assert packed.stat().st_mtime_ns == before

    made.write("certs/two.der", second.certificate_der)
    made.run("-t", "buildfs")
    assert sorted(certs_in(image.read_bytes())) == sorted([first.certificate_der, second.certificate_der])

    packed.write_bytes(b"somebody edited this")
    made.run("-t", "buildfs")
    assert len(certs_in(image.read_bytes())) == 2

    made.run()
    assert made.build("firmware.bin").exists()


def test_refusals_leave_neither_archive_nor_image(project: MakeProject) -> None:
    good = authority()
    made = project(*opt_in("pack_certs"), LITTLEFS)
    image = made.build("littlefs.bin")

    def fails_with(message: str) -> None:
        run = made.run("-t", "buildfs", check=False)
        assert message in run.stderr
        assert "otaseal: hint: " in run.stderr
        assert "BEGIN" not in run.output
        assert not image.exists()

    fails_with("no certificate file matches 'certs'")
    made.write("certs/ca.pem", good.certificate_pem)
    pem = good.issue_server(names=["update.local"], now=NOW).private_key_pem
    key = made.write("certs/server.pem", pem)
    fails_with("holds a private key")
    key.unlink()
    key = made.write("data/www/device.bin", pem)
    fails_with("holds a private key")
    key.unlink()
    made.write("certs/leaf.pem", good.issue_server(names=["update.local"], now=NOW).chain_pem)
    fails_with("it is not a CA")
    (made.path / "certs" / "leaf.pem").unlink()
    assert not (made.path / "data" / "certs.ar").exists()
    made.run("-t", "buildfs")
    assert certs_in(image.read_bytes()) == [good.certificate_der]


def test_expired_and_soon_expiring(project: MakeProject) -> None:
    good = authority()
    expired = authority("old", NOW - timedelta(days=26 * 365))
    ending = authority("soon", NOW - timedelta(days=25 * 365 - 100))
    made = project(*opt_in("pack_certs"), LITTLEFS)
    for name, made_authority in (("good", good), ("expired", expired), ("ending", ending)):
        made.write(f"certs/{name}.pem", made_authority.certificate_pem)
    run = made.run("-t", "buildfs")
    assert sorted(certs_in(made.build("littlefs.bin").read_bytes())) == sorted(
        [good.certificate_der, ending.certificate_der]
    )
    assert any("certs/expired.pem" in line and "expired on" in line for line in run.stderr.splitlines())
    assert any("certs/ending.pem" in line for line in run.stderr.splitlines())
    made.configure([*opt_in("pack_certs"), LITTLEFS, "custom_otaseal_expired_certs = refuse"])
    assert "certs/expired.pem" in made.run("-t", "buildfs", check=False).stderr


def test_filesystem_over_the_air_is_refused_where_updates_are_verified(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    key_line = write_key(tmp_path / "signing.key", rsa_key)
    with FakeOtaDevice() as device:
        lines = [LITTLEFS, "upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"]
        made = project(*opt_in("verify_updates", "pack_certs"), key_line, *lines)
        made.write("certs/ca.pem", authority().certificate_pem)
        run = made.run("-t", "uploadfs", check=False)
        assert "a filesystem upload over the air erases the certificates" in run.stderr
        assert not device.uploads
        made.configure([*opt_in("pack_certs"), *lines])
        made.run("-t", "uploadfs")
        assert [upload.command for upload in device.uploads] == [100]

        stale = made.build("littlefs.bin.signed")
        stale.write_bytes(b"of an older image")
        assert "espota would send it instead" in made.run("-t", "uploadfs", check=False).stderr
        assert len(device.uploads) == 1
