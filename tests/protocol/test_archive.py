"""What a device that asks for certificates is answered: one test a row of the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.chips.families import FAMILIES
from otaseal.protocol.answers import decide_archive
from otaseal.protocol.request import UpdateRequest
from otaseal.release.archive_record import ArchiveRecord

RECORD = ArchiveRecord(
    blob="b" * 64,
    md5="d" * 32,
    size=4321,
    archive="a" * 64,
    certificates=2,
    counter=7,
    built=1_700_000_000,
    key_fingerprint="SHA256:" + "f" * 64,
)
REQUEST = UpdateRequest("GET", "esp8266", mac="5C:CF:7F:F0:04:CB")


@pytest.mark.parametrize("missing", ["product", "archive"])
def test_what_is_not_there_is_404_by_its_name(missing: str) -> None:
    decision = decide_archive(REQUEST, None, missing)
    assert (decision.status, decision.blob) == (404, None)
    assert decision.body.decode().strip() == f"there is no such {missing}"


def test_the_archive_that_a_device_has_is_304_without_a_body() -> None:
    decision = decide_archive(replace(REQUEST, certs=RECORD.archive), RECORD, "archive")
    assert (decision.status, decision.blob) == (304, None)


@pytest.mark.parametrize(("certs", "known"), [(None, "unknown certificates"), ("c" * 64, f"certificates {'c' * 16}")])
def test_another_archive_is_200_with_the_whole_signed_file(certs: str | None, known: str) -> None:
    decision = decide_archive(replace(REQUEST, certs=certs), RECORD, "archive")
    assert (decision.status, decision.blob) == (200, RECORD.blob)
    assert decision.reason == f"{known} to {'a' * 16}, 2 of them"
    headers = dict(decision.headers)
    assert headers["Content-Length"] == "4321"
    assert headers["x-MD5"] == RECORD.md5
    assert headers["ETag"] == f'"{RECORD.blob}"'
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_gets_certificates(family: str) -> None:
    decision = decide_archive(replace(REQUEST, family=family), RECORD, "archive")
    assert (decision.status, decision.blob) == (200, RECORD.blob)
