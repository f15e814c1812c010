"""docs/rotation.md, run as it stands, and what a stock device makes of the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import pytest

from otaseal.certs import packing
from otaseal.image import manifest, signed_image
from otaseal.keys.public import load_public_key
from otaseal.pki.certificate import parse_certificates
from support.hooks import SELF_UPDATING
from support.manual import ENVIRONMENT, Section, Workplace, sections
from support.pio import core_dir
from support.stock_fleet import Device, packed

pytestmark = pytest.mark.proof

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rotation.md"
SECTIONS = sections(PAGE)
LOCKED_OUT = 12


@dataclass(frozen=True)
class Before:
    """A device that was provisioned before anybody read the page, and the place where the page is followed."""

    place: Workplace
    roots: tuple[bytes, ...]
    leaf: bytes
    firmware: bytes

    @property
    def device(self) -> Device:
        return Device(self.firmware, packed(self.roots, now()))

    def connects(self, device: Device | None = None) -> bool:
        """Whether the device, by default the one of before, takes the server as it is now."""
        return (device or self.device).trusts(chain(self.place), "192.168.178.123", now())


def now() -> datetime:
    return datetime.now(timezone.utc)


def chain(place: Workplace) -> list[bytes]:
    text = (place.store / "issued" / "server" / "main" / "chain.pem").read_bytes()
    return [one.der for one in parse_certificates(text)]


def roots(folder: Path) -> tuple[bytes, ...]:
    return tuple(parse_certificates(path.read_bytes())[0].der for path in sorted(folder.glob("*.pem")))


def built(place: Workplace, name: str = "firmware.bin.signed") -> bytes:
    return (place.project / ".pio" / "build" / ENVIRONMENT / name).read_bytes()


def signed_by(place: Workplace, update: bytes, name: str) -> bool:
    key = load_public_key((place.keys / f"{name}.pub").read_bytes(), name)
    return bool(signed_image.verify(update, key))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return a place where `otaseal init` was run, and nothing else."""
    folder = tmp_path_factory.mktemp("start")
    return Workplace(folder / "place", folder / "pio-core").create(SELF_UPDATING)


@pytest.fixture(scope="module")
def first_release(start: Workplace) -> Callable[[], bytes]:
    """Return what builds the firmware that devices run before anything is rotated, once."""

    @cache
    def build() -> bytes:
        core_dir(start.core.parent)
        start.run("pio run")
        return built(start, "firmware.bin")

    return build


def today(before: Before, said: str) -> None:
    place, spare = before.place, before.place.home / "drawer"
    bridge = (spare / "spare-bridge.bin.signed").read_bytes()
    assert before.connects(), "renewed without the successor's key"
    assert before.device.offered(built(place)), "what is published is an ordinary release"
    assert signed_by(place, bridge, "signing")
    saved = before.device.offered(bridge)
    assert saved.refuses(built(place)) == LOCKED_OUT
    place.run(f"otaseal sign {relative(place)} --key ~/drawer/spare.key -o after.signed")
    assert saved.offered((place.project / "after.signed").read_bytes())
    saved_keys = place.run("tar -tzf otaseal-keys.tar.gz").split()
    assert {f"otaseal/pki/blink/{name}/key.pem" for name in ("server-ca", "server-ca-next")} <= set(saved_keys)
    place.run("mv ~/drawer/server-ca-next.key.pem ~/.config/otaseal/pki/blink/server-ca-next/key.pem")
    place.run("otaseal pki rotate && otaseal pki renew")
    assert before.connects(), "and with that key back, the successor takes over"


def relative(place: Workplace) -> Path:
    return Path(".pio") / "build" / ENVIRONMENT / "firmware.bin"


def renewed(before: Before, said: str) -> None:
    assert "nothing is due" in said
    assert chain(before.place)[0] == before.leaf


def rotated(before: Before, said: str) -> None:
    place = before.place
    assert chain(place)[0] != before.leaf
    assert before.connects(), "no device has to be touched"
    packs = roots(place.project / "certs")
    assert len(set(packs) - set(before.roots)) == 1
    refused = place.run("otaseal pki rotate", code=2)
    assert "devices written before do not trust it" in refused
    assert before.connects()


def rotated_and_shipped(before: Before, said: str) -> None:
    rotated(before, said)
    assert set(visited(before).anchors(now())) == set(roots(before.place.project / "certs"))
    assert before.connects(visited(before))
    assert (before.place.folder / "flash.bin").exists()


def visited(before: Before) -> Device:
    """Return a device that was written by cable after the page was followed."""
    return Device(before.firmware, (before.place.project / "data" / packing.ARCHIVE_NAME).read_bytes())


def signing_key(before: Before, said: str) -> None:
    place, device = before.place, before.device
    assert "a bridge release: devices that run it take updates from the next key SHA256:" in said
    bridge = (place.keys / "bridge.bin.signed").read_bytes()
    assert signed_by(place, bridge, "signing")
    final = built(place)
    assert signed_by(place, final, "next")
    assert device.refuses(final) == LOCKED_OUT
    crossed = device.offered(bridge)
    assert crossed.offered(final).offered(final)
    assert crossed.refuses(bridge) == LOCKED_OUT
    same = [signed_image.parse(one).payload[: -manifest.SIZE] for one in (final, bridge)]
    assert same[0] == same[1], "the first file for the new path is the same image"
    left = place.run("OTASEAL_NEXT_PUBLIC_KEY=~/.config/otaseal/keys/blink/next.pub pio run", code=1)
    assert "the next public key SHA256:" in left
    assert "is the current one" in left


def clients(before: Before, said: str) -> None:
    for folder in ("device/esp-0042", "operator/ada@example.org"):
        assert (before.place.store / "issued" / folder / "chain.pem").exists()
    assert len(list((before.place.store / "revoked" / "device").iterdir())) == 1
    assert "revoked 1 certificate of the device 'esp-0042'" in said
    assert (before.place.store / "device-ca" / "crl.pem").exists()


def lost_device(before: Before, said: str) -> None:
    """Both of its certificates, that before a renewal, too; its name is free."""
    assert "revoked 2 certificates of the device '5C:CF:7F:12:34:56'" in said
    assert said.count("revoked") >= 3, "pki list says it, too"
    revoked = json.loads((before.place.store / "revoked.json").read_text())["revoked"]["device"]
    assert len(revoked) == 2
    assert not (before.place.store / "issued" / "device" / "5C-CF-7F-12-34-56").exists()


def server_key(before: Before, said: str) -> None:
    assert before.connects()
    old, new = (parse_certificates(der)[0].x509.public_key() for der in (before.leaf, chain(before.place)[0]))
    assert old != new
    assert before.device.trusts([before.leaf], "192.168.178.123", now()), "devices ask no revocation list"


def both_authorities(before: Before, said: str) -> None:
    assert not before.connects(), "by cable only"
    assert before.connects(visited(before))
    for device in (before.device, visited(before)):
        assert device.trusts([before.leaf], "192.168.178.123", now()), "the old certificate goes on meanwhile"


def stolen_authority(before: Before, said: str) -> None:
    rotated_and_shipped(before, said)
    assert before.device.trusts([before.leaf], "192.168.178.123", now())
    assert not visited(before).trusts([before.leaf], "192.168.178.123", now()), "the stolen root is off the device"


def client_authority(before: Before, said: str) -> None:
    store = before.place.store
    old, new = (
        parse_certificates((store / name / "certificate.pem").read_bytes())[0]
        for name in ("operator-ca-old", "operator-ca")
    )
    assert old != new
    leaf = parse_certificates((store / "issued" / "operator" / "ada" / "chain.pem").read_bytes())[0]
    assert leaf.issuer == new.subject
    assert roots(before.place.project / "certs") == before.roots
    assert chain(before.place)[0] == before.leaf


CHECKS: dict[str, Callable[[Before, str], None]] = {
    "Do these three things today": today,
    "Renew a server certificate": renewed,
    "Rotate the server authority": rotated_and_shipped,
    "Rotate the signing key": signing_key,
    "Device and operator certificates": clients,
    "A device is lost, stolen or cloned": lost_device,
    "The key of a server certificate is lost": server_key,
    "The server authority's key is lost": rotated,
    "Both server authorities are lost": both_authorities,
    "The server authority's key is stolen": stolen_authority,
    "The device or the operator authority is lost or stolen": client_authority,
}

REQUEST = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out device.csr"
LOSSES = {
    "A device is lost, stolen or cloned": f"""
        for i in 1 2; do {REQUEST} -subj /CN=5C:CF:7F:12:34:56; otaseal pki enroll device.csr; done""",
    "The key of a server certificate is lost": "rm ~/.config/otaseal/pki/blink/issued/server/main/key.pem",
    "The server authority's key is lost": "rm ~/.config/otaseal/pki/blink/server-ca/key.pem",
    "Both server authorities are lost": "rm -r ~/.config/otaseal/pki/blink",
}
"""What has happened before a person reads that section."""


def builds(section: Section) -> bool:
    return "pio run" in section.runs


def test_every_section_that_has_commands_is_followed() -> None:
    assert set(SECTIONS) == set(CHECKS)


def follow(section: Section, place: Workplace, firmware: bytes) -> None:
    before = Before(place, roots(place.project / "certs"), chain(place)[0], firmware)
    assert before.connects()
    place.run(LOSSES.get(section.title, "true"))
    CHECKS[section.title](before, place.follow(section))


@pytest.mark.parametrize("title", [title for title, one in SECTIONS.items() if not builds(one)])
def test_section_of_keys_and_certificates(title: str, start: Workplace, tmp_path: Path) -> None:
    follow(SECTIONS[title], start.copy(tmp_path / "place"), b"")


@pytest.mark.build
@pytest.mark.parametrize("title", [title for title, one in SECTIONS.items() if builds(one)])
def test_section_that_builds(title: str, start: Workplace, first_release: Callable[[], bytes], tmp_path: Path) -> None:
    firmware = first_release()
    follow(SECTIONS[title], start.copy(tmp_path / "place"), firmware)
