"""What is said of a release beside its images, in both kinds of store: kept, backed up and removed with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.store import copying
from otaseal.store.backup import MANIFEST
from otaseal.store.check import check
from otaseal.store.documents import attachment_name
from otaseal.store.store import Store, remove_release
from support.filled_store import FIRST, IMAGE, PACKED, either, location_of, new_location, opened  # noqa: F401

SBOM, PROVENANCE = b'{"bomFormat": "CycloneDX"}', b'{"payloadType": "application/vnd.in-toto+json"}'
BOTH = {"sbom": SBOM, "provenance": PROVENANCE}


@pytest.fixture
def attached(either: Store) -> Store:  # noqa: F811
    either.publish(FIRST, [IMAGE, PACKED], "alice", attachments=BOTH)
    return either


def kept(store: Store) -> dict[str, bytes | None]:
    return {kind: store.attachment("blink", "1.0.0", kind) for kind in store.attachments("blink", "1.0.0")}


def test_they_stay_with_their_release(attached: Store) -> None:
    assert kept(attached) == BOTH
    attached.publish(FIRST, [IMAGE, PACKED], "bob", attachments={"sbom": b'{"another": "one"}'})
    assert kept(attached) == BOTH, "the first one stays"
    events = [line for _, line in attached.documents.audit_lines() if line and "attached" in line]
    assert [sorted(event["attached"]) for event in events] == [["provenance", "sbom"]]
    assert check(attached).whole
    assert not check(attached).orphans


def test_a_release_without_any_can_be_given_some(either: Store) -> None:  # noqa: F811
    either.publish(FIRST, [IMAGE, PACKED])
    assert kept(either) == {}
    either.publish(FIRST, [IMAGE, PACKED], attachments={"sbom": SBOM})
    assert kept(either) == {"sbom": SBOM}


def test_what_an_upload_left_that_was_broken_off_is_replaced(either: Store) -> None:  # noqa: F811
    with either.documents.change() as change:
        change.replace(attachment_name("blink", "1.0.0", "sbom"), b'{"of": "another build"}')
    either.publish(FIRST, [IMAGE, PACKED], attachments={"sbom": SBOM})
    assert kept(either) == {"sbom": SBOM}


def test_a_removed_release_leaves_none(attached: Store) -> None:
    with attached.documents.change() as change:
        change.append({"event": "prune", "product": "blink", "version": "1.0.0", "by": ""})
        remove_release(change, "blink", "1.0.0")
    assert not [name for name in attached.documents.present() if "attachments/1.0.0/" in name]


@pytest.mark.parametrize("backend", ["files", "postgresql"])
def test_backups_and_copies_have_them(attached: Store, backend: str, tmp_path: Path) -> None:
    copying.backup(location_of(attached), tmp_path / "backup.tar")
    copying.restore(tmp_path / "backup.tar", target := new_location(backend, tmp_path / "target"))
    with opened(target) as restored:
        assert kept(restored) == BOTH
    data = (tmp_path / "backup.tar").read_bytes()
    start = data.index(b'{"format"')
    assert data.startswith(MANIFEST.encode())
    assert json.loads(data[start : data.index(b"}}", start) + 2])["format"] == 3, "an older otaseal calls it newer"


def test_damage_is_found(attached: Store) -> None:
    with attached.documents.change() as change:
        change.replace(attachment_name("blink", "1.0.0", "sbom"), b'{"bomFormat": "Cy')
    assert "the sbom is not JSON" in check(attached).problems
    assert attached.release("blink", "1.0.0") == FIRST, "devices need none of it"


def test_other_kinds_are_refused(attached: Store) -> None:
    with pytest.raises(InputError, match="'licence' is no attachment"):
        attached.attachment("blink", "1.0.0", "licence")
