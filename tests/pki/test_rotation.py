"""Renewal and rotation with a moved clock: what devices trust at each step, by asking the verifiers.

BearSSL, mbedTLS and `openssl verify` can be told the time; Python's and curl's clock is the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from otaseal.pki import KeyType, Role, store
from otaseal.pki.authority import load_private_key
from otaseal.pki.certificate import parse_certificates
from otaseal.pki.check import expiring
from otaseal.pki.store import Slot, Store
from support.killed_at import NOW
from support.verifiers import Presenter, Question, ask_bearssl, ask_mbedtls, ask_openssl_at, presenting

ADDRESS = "192.0.2.7"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as running:
        yield running


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))
    made = Store.create(tmp_path / "pki", "blink", NOW)
    made.issue_server("main", [ADDRESS, "update.local"], now=NOW, key=KeyType.P_256)
    return made


@pytest.fixture
def takes(made: Store, presenter: Presenter, tmp_path: Path) -> object:
    """Ask all whose clock can be moved whether they take the server as it is now; they have to agree."""

    def ask(anchors: Sequence[bytes], now: datetime) -> bool:
        folder = made.folder(Role.SERVER, "main")
        chain = [one.der for one in parse_certificates((folder / "chain.pem").read_bytes())]
        presenter.present(chain, load_private_key((folder / "key.pem").read_bytes(), None))
        question = Question(presenter.port, anchors, ADDRESS, now, tmp_path)
        answers = [ask_bearssl(question), ask_mbedtls(question), ask_openssl_at(question, chain)]
        assert len({accepted for accepted, _ in answers}) == 1, answers
        return answers[0][0]

    return ask


def test_a_leaf_is_renewed_before_anybody_notices(made: Store, takes: type[bool]) -> None:
    shipped = made.roots_to_pack(NOW)
    due = NOW + 270 * DAY
    assert [one.name for one in made.due(due)] == ["main"]
    assert takes(shipped, due)
    assert not takes(shipped, NOW + 366 * DAY), "not renewed: everybody is locked out"
    made.renew(Role.SERVER, "main", now=due)
    assert takes(shipped, due)
    assert takes(shipped, NOW + 366 * DAY)
    assert made.roots_to_pack(due) == shipped, "renewal changes nothing on a device"


def test_an_authority_is_rotated_without_touching_old_devices(made: Store, takes: type[bool]) -> None:
    first_fleet, later = made.roots_to_pack(NOW), NOW + 100 * DAY
    made.rotate(later)
    assert takes(first_fleet, later), "the server's certificate is still the old one"
    assert [one.name for one in made.due(later)] == ["main"]
    second_fleet = made.roots_to_pack(later)
    assert takes(second_fleet, later), "the retired root is packed while the server uses it"
    made.renew(Role.SERVER, "main", now=later)
    assert made.due(later) == ()
    assert takes(first_fleet, later), "old devices have carried the successor from the first day"
    assert takes(second_fleet, later)
    third_fleet = made.roots_to_pack(later)
    assert first_fleet[0] not in third_fleet, "and now the old root goes"
    assert len(third_fleet) == 2
    assert takes(third_fleet, later)
    assert not takes(first_fleet[:1], later), "a device without the successor is locked out"


def test_a_second_rotation_too_early_locks_the_first_fleet_out(made: Store, takes: type[bool]) -> None:
    """What docs warn of: the successor of the successor is not on devices that got no new archive."""
    first_fleet = made.roots_to_pack(NOW)
    for days in (100, 200):
        made.rotate(NOW + days * DAY)
        made.renew(Role.SERVER, "main", now=NOW + days * DAY)
    assert not takes(first_fleet, NOW + 200 * DAY)
    assert takes(made.roots_to_pack(NOW + 200 * DAY), NOW + 200 * DAY)


@pytest.mark.parametrize("step", ["next became current", "current was retired"])
def test_a_rotation_that_was_killed_is_finished_once(made: Store, step: str) -> None:
    current, following = made.certificate(Slot.SERVER).der, made.certificate(Slot.SERVER_NEXT).der
    (made.directory / "server-ca").rename(made.directory / "server-ca-retired-1")
    if step == "next became current":
        (made.directory / "server-ca-next").rename(made.directory / "server-ca")
    made.rotate(NOW)
    assert made.certificate(Slot.SERVER).der == following
    assert made.certificate(Slot.SERVER_NEXT).der not in (current, following)


def test_roots_that_run_out_are_named_in_time(made: Store) -> None:
    roots = made.roots_to_pack(NOW)
    end = parse_certificates(roots[0])[0].x509.not_valid_after_utc
    assert expiring(roots, end - 91 * DAY) == ()
    assert len(expiring(roots, end - 89 * DAY)) == len(roots)
    assert made.roots_to_pack(end + DAY) == ()
