"""Keys of the three authorities lost and stolen, with a moved clock: what docs/rotation.md says, played on devices.

A device is its archive, as the build packs it. Each connection is asked of libbearssl over a real handshake and of the
prediction that `pki check` gives; the two have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError, KeyRefusedError
from otaseal.pki import KeyType, Role, store
from otaseal.pki.authority import load_private_key
from otaseal.pki.certificate import parse_certificates
from otaseal.pki.store import Slot, Store
from support.killed_at import NOW
from support.stock_fleet import Device, packed
from support.verifiers import Presenter, Question, ask_bearssl, ask_openssl_at, presenting

ADDRESS = "192.0.2.7"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Server:
    """What a server, or who poses as it, has: a chain (DER, leaf first) and its key."""

    chain: Sequence[bytes]
    key: Any


Connects = Callable[[Device, Server, datetime], bool]


def read(folder: Path) -> Server:
    chain = [one.der for one in parse_certificates((folder / "chain.pem").read_bytes())]
    return Server(chain, load_private_key((folder / "key.pem").read_bytes(), None))


def server(made: Store) -> Server:
    return read(made.folder(Role.SERVER, "main"))


def provisioned(made: Store, now: datetime) -> Device:
    """Return a device that gets the product's roots by cable at `now`."""
    return Device(b"", packed(made.roots_to_pack(now), now))


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as running:
        yield running


@pytest.fixture(autouse=True)
def _fast_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))


@pytest.fixture
def made(tmp_path: Path) -> Store:
    return created(tmp_path / "pki")


def created(directory: Path, now: datetime = NOW, passphrase: bytes | None = None) -> Store:
    made = Store.create(directory, "blink", now, passphrase)
    made.issue_server("main", [ADDRESS, "update.local"], now=now, key=KeyType.P_256)
    return made


@pytest.fixture
def connects(presenter: Presenter, tmp_path: Path) -> Connects:
    def ask(device: Device, server: Server, now: datetime) -> bool:
        presenter.present(server.chain, server.key)
        accepted, said = ask_bearssl(Question(presenter.port, device.anchors(now), ADDRESS, now, tmp_path))
        assert accepted == device.trusts(server.chain, ADDRESS, now), said
        return accepted

    return ask


def test_renewal_at_two_thirds_keeps_every_device_connected_for_years(made: Store, connects: Connects) -> None:
    device, now = provisioned(made, NOW), NOW
    for _ in range(5):
        while not made.due(now):
            now += 30 * DAY
        assert connects(device, server(made), now), "still connected on the day that it is due"
        made.renew(Role.SERVER, "main", now=now)
        assert connects(device, server(made), now)
    assert now - NOW > 3 * 365 * DAY
    assert connects(device, server(made), now + 364 * DAY)
    assert not connects(device, server(made), now + 366 * DAY), "who never renews locks everybody out"


def test_a_rotation_reaches_old_both_and_new_archives(made: Store, connects: Connects) -> None:
    old, day = provisioned(made, NOW), NOW + 100 * DAY
    made.rotate(day)
    both = provisioned(made, day)
    assert len(both.anchors(day)) == 3, "current, next, and the retired one while the server uses it"
    assert all(connects(device, server(made), day) for device in (old, both))
    made.renew(Role.SERVER, "main", now=day)
    new = provisioned(made, day)
    assert len(new.anchors(day)) == 2
    assert all(connects(device, server(made), day) for device in (old, both, new))


def test_a_device_sleeps_through_one_rotation_and_not_through_two(made: Store, connects: Connects) -> None:
    asleep, first, second = provisioned(made, NOW), NOW + 400 * DAY, NOW + 800 * DAY
    made.rotate(first)
    made.renew(Role.SERVER, "main", now=first)
    assert connects(asleep, server(made), first)
    visited = provisioned(made, first)
    made.rotate(second)
    made.renew(Role.SERVER, "main", now=second)
    assert not connects(asleep, server(made), second), "by cable only"
    assert connects(visited, server(made), second)
    assert connects(provisioned(made, second), server(made), second)


def test_a_lost_server_key_costs_no_device_a_visit(made: Store, connects: Connects) -> None:
    device, day = provisioned(made, NOW), NOW + 20 * DAY
    (made.folder(Role.SERVER, "main") / "key.pem").unlink()
    with pytest.raises(InputError):
        made.renew(Role.SERVER, "main", now=day)
    made.revoke(Role.SERVER, "main", now=day)
    made.issue_server("main", [ADDRESS, "update.local"], now=day, key=KeyType.P_256)
    assert connects(device, server(made), day)


def test_a_stolen_server_key_works_until_its_certificate_ends(made: Store, connects: Connects) -> None:
    """Devices ask no revocation list (F26): only the end of the certificate, or of its root on the device, helps."""
    device, thief, day = provisioned(made, NOW), server(made), NOW + 20 * DAY
    made.revoke(Role.SERVER, "main", now=day)
    made.issue_server("main", [ADDRESS, "update.local"], now=day, key=KeyType.P_256)
    assert connects(device, server(made), day)
    assert connects(device, thief, day), "revoking does not reach devices"
    assert connects(device, thief, NOW + 364 * DAY)
    assert not connects(device, thief, NOW + 366 * DAY)

    made.rotate(day)
    made.renew(Role.SERVER, "main", now=day)
    assert connects(device, thief, day), "nor does a rotation, as long as the device keeps the old root"
    visited = provisioned(made, day)
    assert not connects(visited, thief, day), "by cable: an archive without the old root"
    assert all(connects(one, server(made), day) for one in (device, visited))


def test_a_lost_authority_is_followed_by_its_successor(made: Store, connects: Connects) -> None:
    device, day = provisioned(made, NOW), NOW + 20 * DAY
    (made.directory / "server-ca" / "key.pem").unlink()
    with pytest.raises(InputError):
        made.renew(Role.SERVER, "main", now=day)
    assert connects(device, server(made), day), "the certificate that is there goes on"
    made.rotate(day)
    made.renew(Role.SERVER, "main", now=day)
    assert connects(device, server(made), day)
    made.rotate(day)
    made.renew(Role.SERVER, "main", now=day)
    assert not connects(device, server(made), day), "but only once: the next successor has to be brought by cable"


def test_with_both_authorities_lost_devices_are_reached_until_the_certificate_ends(
    made: Store, tmp_path: Path, connects: Connects
) -> None:
    device, last = provisioned(made, NOW), server(made)
    day = NOW + 20 * DAY
    anew = created(tmp_path / "made anew", day)
    assert not connects(device, server(anew), day), "by cable only"
    assert connects(device, last, NOW + 364 * DAY)
    assert not connects(device, last, NOW + 366 * DAY)
    assert connects(provisioned(anew, day), server(anew), day)


def test_a_stolen_authority_is_trusted_until_its_root_leaves_the_device(
    made: Store, tmp_path: Path, connects: Connects
) -> None:
    device, day = provisioned(made, NOW), NOW + 20 * DAY
    stolen = made.authority(Slot.SERVER)
    made.rotate(day)
    made.renew(Role.SERVER, "main", now=day)
    for later in (day, NOW + 3000 * DAY):
        forged = stolen.issue_server([ADDRESS], now=later, key=KeyType.P_256)
        thief = Server([parse_certificates(forged.chain_pem)[0].der], forged.key)
        assert connects(device, thief, later), "for as long as the root lives, whatever is rotated"
        assert not connects(provisioned(made, later), thief, later), "by cable: an archive without it"
    assert connects(device, server(made), day)


def test_a_forgotten_passphrase_is_all_authorities_lost(tmp_path: Path, connects: Connects) -> None:
    made = created(tmp_path / "pki", passphrase=b"correct horse")
    device, day = provisioned(made, NOW), NOW + 20 * DAY
    guessed = Store(made.directory, "blink", b"battery staple")
    for slot in Slot:
        with pytest.raises(KeyRefusedError, match="cannot be unlocked"):
            guessed.authority(slot)
    with pytest.raises(KeyRefusedError, match="cannot be unlocked"):
        guessed.renew(Role.SERVER, "main", now=day)
    assert connects(device, server(made), day), "the server's own key is not locked: it goes on to the end"


@pytest.mark.parametrize("role", [Role.DEVICE, Role.OPERATOR])
def test_a_client_authority_is_replaced_on_the_server_alone(
    role: Role, made: Store, tmp_path: Path, connects: Connects
) -> None:
    """A server that trusts both goes on taking the old certificates; one that trusts the new alone takes no old one."""

    def issue(name: str) -> list[bytes]:
        make = made.issue_device if role is Role.DEVICE else made.issue_operator
        return list(read(make(name, now=NOW)).chain)

    def takes(anchors: list[bytes], chain: list[bytes]) -> bool:
        return ask_openssl_at(Question(0, anchors, "", NOW, tmp_path), chain, "sslclient")[0]

    slot = Slot.DEVICE if role is Role.DEVICE else Slot.OPERATOR
    device, root, old = provisioned(made, NOW), made.certificate(slot).der, issue("before")
    (made.directory / slot.value).rename(made.directory / f"{slot.value}-old")
    Store.create(made.directory, "blink", NOW)
    fresh, new = made.certificate(slot).der, issue("after")
    assert takes([root, fresh], old)
    assert takes([root, fresh], new)
    assert takes([fresh], new)
    assert not takes([fresh], old)
    assert provisioned(made, NOW) == device, "devices trust neither, so nothing changes on them"
    assert connects(device, server(made), NOW)


def test_a_stolen_device_or_operator_key_poses_as_no_server(made: Store, connects: Connects) -> None:
    device = provisioned(made, NOW)
    for folder in (made.issue_device("esp-1", now=NOW), made.issue_operator("ada", now=NOW)):
        assert not connects(device, read(folder), NOW)
