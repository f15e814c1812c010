"""Trusts are kept by either backend, with backups and copies, and told in the audit log."""

from __future__ import annotations

from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.store import copying
from otaseal.store.backend import open_backend
from otaseal.store.store import Store
from otaseal.store.trusts import MAX_TRUSTS, Trust, TrustFile
from support.filled_store import either, location_of

__all__ = ["either"]

CI = Trust("", "ci", "https://ci.local", "https://update.local", {"repository": "me/blink"}, {"ref": "v*"}, ("blink",))


def test_they_are_listed_until_they_are_removed_and_in_backups(either: Store, tmp_path: Path) -> None:
    trusts = TrustFile(either.documents)
    assert trusts.list() == ()
    first, second = (trusts.add(CI, "local:ada") for _ in range(2))
    elsewhere = TrustFile(either.documents)
    assert elsewhere.list() == (first, second)
    assert first.id != second.id
    assert trusts.remove(first.id, "local:ada") == first
    assert elsewhere.of("https://ci.local") == (second,)
    assert elsewhere.of("https://other.local") == ()
    with pytest.raises(InputError, match="there is no trust"):
        trusts.remove(first.id, "local:ada")
    events = [line for _, line in either.documents.audit_lines() if line and line["by"] == "local:ada"]
    assert [(line["event"], line["id"]) for line in events] == [
        ("trust", first.id),
        ("trust", second.id),
        ("distrust", first.id),
    ]
    copying.backup(location_of(either), tmp_path / "backup.tar")
    copying.restore(tmp_path / "backup.tar", str(tmp_path / "restored"))
    assert TrustFile(tmp_path / "restored").list() == (second,)
    assert (tmp_path / "restored" / "trusts.json").stat().st_mode & 0o777 == 0o600
    with open_backend(str(tmp_path / "restored")) as source:
        copying.copy(source, str(tmp_path / "copy"))
    assert TrustFile(tmp_path / "copy").list() == (second,)


def test_there_are_not_too_many_nor_too_long_ones(tmp_path: Path) -> None:
    trusts = TrustFile(Store.create(tmp_path / "store").documents)
    long = {f"claim{number}": "\u2713" * 512 for number in range(15)}
    with pytest.raises(InputError, match="an audit line has"):
        trusts.add(Trust(**{**vars(CI), "claims": long}), "local:ada")
    assert trusts.list() == ()
    for _ in range(MAX_TRUSTS):
        trusts.add(CI, "local:ada")
    with pytest.raises(InputError, match=f"there are {MAX_TRUSTS} trusts"):
        trusts.add(CI, "local:ada")
