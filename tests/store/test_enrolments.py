"""Who may ask for a device's certificate, and what becomes of the request: claim codes, keys, certificates."""

from __future__ import annotations

import contextlib
import re
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from otaseal.errors import ConfigError, ConflictError, InputError, NotFoundError
from otaseal.store import claims
from otaseal.store.backup import backup, restore
from otaseal.store.check import check
from otaseal.store.enrolments import (
    REPLACED_SECONDS,
    WAITING_SECONDS,
    Applicant,
    Asking,
    Enrolments,
    NotAllowedError,
    UnknownClaimError,
)
from otaseal.store.postgresql.database import Database
from otaseal.store.proof_key_rows import ProofKey
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.sql import Tables
from otaseal.store.store import Store
from support.filled_store import filled, new_location, store
from support.secret_tables import either_secrets

__all__ = ["either_secrets", "filled", "store"]

NOW = datetime(2030, 1, 31, tzinfo=timezone.utc)
AT = NOW.timestamp()
KITCHEN, ATTIC = "5C:CF:7F:F0:04:CB", "5C:CF:7F:00:00:01"
AGREED, ENROLLED = ProofKey(bytes(32), agreed=AT), ProofKey(bytes(32), enrolled=AT)
PROVEN, CERTIFIED = Applicant(key=ENROLLED, proven=True), Applicant(certificate="2a")


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[Secrets]:
    with Secrets(tmp_path / SECRETS_FILE) as opened:
        yield opened


@pytest.fixture
def filed(secrets: Secrets) -> Enrolments:
    """Return the requests in a file."""
    return Enrolments(secrets)


@pytest.fixture
def enrolments(either_secrets: Tables) -> Enrolments:
    return Enrolments(either_secrets)


def asking(device: str = KITCHEN, key: str = "k1", product: str = "blink") -> Asking:
    return Asking(product, device, key, b"csr of " + key.encode())


def issued(enrolments: Enrolments, device: str = "", uses: int = 1, days: int = 7) -> tuple[claims.Claim, Applicant]:
    claim, code = enrolments.claims.issue("blink", device, days, uses, NOW)
    return claim, Applicant(claim=code)


def test_a_code_is_random_hashed_and_can_be_typed(filed: Enrolments, tmp_path: Path) -> None:
    codes = [filed.claims.issue("blink", "", 7, 1, NOW)[1] for _ in range(50)]
    assert len(set(codes)) == 50
    for code in codes:
        assert re.fullmatch("([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code), "16 of 32 signs are 80 bits"
    kept = (tmp_path / SECRETS_FILE).read_bytes()
    assert stat.S_IMODE((tmp_path / SECRETS_FILE).stat().st_mode) == 0o600
    assert not any(code.encode() in kept or code.replace("-", "").encode() in kept for code in codes)
    typed = codes[7].lower().replace("-", " ").replace("0", "o").replace("1", "l")
    found = filed.claims.find(typed)
    assert found is not None
    assert found == filed.claims.find(codes[7])
    assert filed.claims.find(codes[7][:-1]) is None


@pytest.mark.parametrize(
    ("device", "days", "uses", "said"),
    [("", 0, 1, "'0' days"), ("", 9999, 1, "'9999' days"), ("", 7, 0, "'0' times"), ("", 7, 10_001, "'10001' times"),
     (KITCHEN, 7, 2, "'2' times")],
)  # fmt: skip
def test_codes_are_bounded(enrolments: Enrolments, device: str, days: int, uses: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        enrolments.claims.issue("blink", device, days, uses, NOW)
    assert enrolments.claims.list() == []


def test_a_code_is_good_for_so_many_devices(enrolments: Enrolments) -> None:
    claim, holder = issued(enrolments, uses=2)
    first = enrolments.ask(asking(), holder, AT)
    assert (first.proof, first.credential, first.certificate) == ("claim", claim.id, None)
    assert enrolments.ask(asking(), holder, AT + 9) == first, "asking again is no second use"
    assert enrolments.ask(asking(), Applicant(), AT + 9) == first, "and takes nothing but the key"
    enrolments.ask(asking(ATTIC), holder, AT)
    assert enrolments.claims.list()[0].used == 2
    with pytest.raises(InputError, match=f"the claim code {claim.id} is used up"):
        enrolments.ask(asking("5C:CF:7F:00:00:02"), holder, AT)
    assert [one.device for one in enrolments.waiting("blink", "", 9, AT)] == [ATTIC, KITCHEN]


def test_a_code_is_for_its_product_device_and_days(enrolments: Enrolments) -> None:
    _, holder = issued(enrolments, KITCHEN)
    for refused, said in (
        (asking(ATTIC), "is for another device"),
        (asking(product="lamp"), "is for another product"),
    ):
        with pytest.raises(InputError, match=said):
            enrolments.ask(refused, holder, AT)
    end = (NOW + timedelta(days=7)).timestamp()
    with pytest.raises(InputError, match="has expired"):
        enrolments.ask(asking(), holder, end)
    with pytest.raises(UnknownClaimError, match="there is no such claim code"):
        enrolments.ask(asking(), Applicant(claim="0000-0000-0000-0000"), AT)
    with pytest.raises(InputError, match="takes a claim code, an enrolled key, or the certificate before"):
        enrolments.ask(asking(), Applicant(), AT)
    assert enrolments.waiting("blink", "", 9, AT) == []
    assert enrolments.ask(asking(), holder, end - 1).device == KITCHEN


def test_a_stolen_code_takes_no_name_that_is_taken(enrolments: Enrolments) -> None:
    _, thief = issued(enrolments, uses=100)
    enrolments.ask(asking(KITCHEN, "kitchen's"), issued(enrolments)[1], AT)
    for device, applicant in ((KITCHEN, thief), (ATTIC, thief._replace(key=ENROLLED))):
        with pytest.raises(InputError, match="known already, and proves nothing: it takes a claim code of its own"):
            enrolments.ask(asking(device, "thief's"), applicant, AT + 9)
    enrolments.answer("blink", KITCHEN, "kitchen's", b"certificate", AT + 1000)
    with pytest.raises(InputError, match="known already"):
        enrolments.ask(asking(KITCHEN, "thief's"), thief, AT + 9)
    assert enrolments.ask(asking(KITCHEN, "kitchen's"), Applicant(), AT).certificate == b"certificate"
    replaced = enrolments.ask(asking(KITCHEN, "new"), issued(enrolments, KITCHEN)[1], AT + 9)
    assert (replaced.key, replaced.certificate) == ("new", None), "its own code is an operator's word"


def test_a_key_of_first_contact_vouches_for_nobody_and_keeps_others_away(enrolments: Enrolments) -> None:
    _, holder = issued(enrolments)
    own = holder._replace(key=AGREED, proven=True)
    with pytest.raises(InputError, match="takes a claim code, an enrolled key"):
        enrolments.ask(asking(), own._replace(claim=""), AT)
    with pytest.raises(InputError, match="known already, and proves nothing"):
        enrolments.ask(asking(), own._replace(proven=False), AT)
    assert enrolments.ask(asking(), own, AT).proof == "claim"


def test_an_enrolled_key_and_a_certificate_ask_without_a_code(enrolments: Enrolments) -> None:
    with pytest.raises(InputError, match="takes a claim code"):
        enrolments.ask(asking(), PROVEN._replace(proven=False), AT)
    by_key = enrolments.ask(asking(), PROVEN, AT)
    assert (by_key.proof, by_key.credential) == ("key", "")
    for again in (PROVEN, CERTIFIED):
        with pytest.raises(InputError, match="asked for another key a moment ago"):
            enrolments.ask(asking(key="k2"), again, AT + REPLACED_SECONDS - 1)
    renewed = enrolments.ask(asking(key="k2"), CERTIFIED, AT + REPLACED_SECONDS)
    assert (renewed.proof, renewed.credential) == ("certificate", "2a")
    assert enrolments.waiting("blink", "", 9, AT) == [renewed], "one request of each device"


def test_only_the_key_that_waits_is_given_its_certificate(enrolments: Enrolments) -> None:
    enrolments.ask(asking(), CERTIFIED, AT)
    with pytest.raises(ConflictError, match=f"not for the key of '{KITCHEN}' that waits"):
        enrolments.answer("blink", KITCHEN, "k2", b"other", AT + 9)
    for product, device in (("lamp", KITCHEN), ("blink", ATTIC)):
        with pytest.raises(NotFoundError, match="no request of"):
            enrolments.answer(product, device, "k1", b"other", AT + 9)
    enrolments.answer("blink", KITCHEN, "k1", b"certificate", AT + 9)
    assert enrolments.waiting("blink", "", 9, AT) == []
    assert enrolments.ask(asking(), Applicant(), AT + 8).certificate == b"certificate"
    with pytest.raises(InputError, match="takes a claim code"):
        enrolments.ask(asking(), Applicant(), AT + 9)


def test_revoking_a_code_ends_what_waits_by_it(enrolments: Enrolments) -> None:
    claim, holder = issued(enrolments, uses=3)
    for device in (KITCHEN, ATTIC):
        enrolments.ask(asking(device), holder, AT)
    enrolments.answer("blink", ATTIC, "k1", b"certificate", AT + 9)
    enrolments.ask(asking("5C:CF:7F:00:00:02"), CERTIFIED, AT)
    assert enrolments.revoke(claim.id) == (claim._replace(used=2), 1)
    assert [one.proof for one in enrolments.waiting("blink", "", 9, AT)] == ["certificate"]
    with pytest.raises(UnknownClaimError):
        enrolments.ask(asking(), holder, AT)
    with pytest.raises(NotFoundError, match=f"there is no claim code '{claim.id}'"):
        enrolments.revoke(claim.id)


def test_a_flood_pushes_out_nobody(either_secrets: Tables) -> None:
    enrolments = Enrolments(either_secrets, limit=5)
    first = enrolments.ask(asking(), CERTIFIED, AT)
    _, thief = issued(enrolments, uses=100)
    for number in range(4):
        enrolments.ask(asking(f"5C:CF:7F:00:00:{number:02}"), thief, AT + 1)
    with pytest.raises(InputError, match="no room for more than 5 requests"):
        enrolments.ask(asking("5C:CF:7F:00:00:99"), thief, AT + 2)
    assert enrolments.claims.list()[0].used == 4, "what was refused is not used"
    assert enrolments.ask(asking(), Applicant(), AT + 2) == first
    late = AT + WAITING_SECONDS
    assert enrolments.ask(asking("5C:CF:7F:00:00:99"), CERTIFIED, late).asked == late, "what is over makes room"
    assert enrolments.find("blink", KITCHEN) is None


def test_a_backup_has_codes_and_requests(filled: Store, tmp_path: Path) -> None:
    with Secrets(filled.directory / SECRETS_FILE) as secrets:
        before = Enrolments(secrets)
        _, holder = issued(before, uses=5)
        before.ask(asking(), holder, AT)
        before.ask(asking(ATTIC), holder, AT)
        before.answer("blink", ATTIC, "k1", b"certificate", AT + 9)
    assert check(filled).whole
    backup(filled, tmp_path / "a.tar")
    restored = restore(tmp_path / "a.tar", tmp_path / "restored")
    with Secrets(restored.directory / SECRETS_FILE) as secrets:
        after = Enrolments(secrets)
        assert after.claims.list()[0].used == 2
        assert [one.device for one in after.waiting("blink", "", 9, AT)] == [KITCHEN]
        assert after.ask(asking(ATTIC), Applicant(), AT).certificate == b"certificate"
        assert after.ask(asking("5C:CF:7F:00:00:02"), holder, AT).proof == "claim", "the code is good there, too"


def test_who_may_not_makes_no_file(filed: Enrolments, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        filed.ask(asking(), Applicant(claim="x"), AT)
    filed.forget("blink", KITCHEN)
    assert filed.claims.list() == filed.waiting("blink", "", 9, AT) == []
    assert list(tmp_path.iterdir()) == []


def test_a_code_is_used_once_though_many_servers_are_asked_at_once(tmp_path: Path) -> None:
    url = new_location("postgresql", tmp_path)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Database(url, f"server {number}")) for number in range(4)]
        for number, database in enumerate(servers):
            database.open(create=not number)
        together = threading.Barrier(len(servers))

        def ask(number: int, applicant: Applicant) -> str:
            together.wait(30)
            try:
                Enrolments(servers[number]).ask(asking(f"5C:CF:7F:00:00:{number:02X}"), applicant, AT)
            except NotAllowedError as error:
                return error.message
            return "allowed"

        executor = stack.enter_context(ThreadPoolExecutor(len(servers)))
        for _ in range(5):
            claim, applicant = issued(Enrolments(servers[0]))
            said = sorted(executor.map(ask, range(4), [applicant] * 4))
            assert said[0] == "allowed"
            assert all("is used up" in message for message in said[1:])
            (kept,) = (one for one in Enrolments(servers[1]).claims.list() if one.id == claim.id)
            assert kept.used == 1
            for number in range(4):
                Enrolments(servers[2]).forget("blink", f"5C:CF:7F:00:00:{number:02X}")
