"""Trusts are kept by either backend, with backups and copies, and told in the audit log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from otaseal.errors import ConfigError, InputError
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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"issuer": "http://ci.local"}, "is not an issuer"),
        ({"issuer": "https://user@ci.local"}, "is not an issuer"),
        ({"issuer": "https://ci.local#"}, "is not an issuer"),
        ({"issuer": "https://[::1"}, "is not an issuer"),
        ({"issuer": "https://ci..local"}, "is not an issuer"),
        ({"audience": ""}, "the audience is ''"),
        ({"scopes": ()}, "0 scopes"),
        ({"scopes": ("../x",)}, "a scope's product"),
        ({"claims": {}}, "every token of"),
        ({"claims": {}, "patterns": {"repository": "me/*"}}, "every token of"),
        ({"claims": {"aud": "x"}}, "not a claim to ask for"),
        ({"claims": {"a": ""}}, "not a claim to ask for"),
        ({"patterns": {"repository": "me/*"}}, "asked for twice"),
        ({"issuer": "https://gitlab.com", "claims": {"ref": "main"}}, "anybody can have a token"),
        (
            {"issuer": "https://token.actions.githubusercontent.com", "claims": {"ref": "refs/heads/main"}},
            "anybody can have a token",
        ),
        ({"name": "a b"}, "a trust's name"),
    ],
)
def test_trusts_that_would_let_everybody_in(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    trusts = TrustFile(tmp_path)
    with pytest.raises(ConfigError, match=message):
        trusts.add(replace(CI, **{"patterns": {}, **changed}), "local:ada")  # type: ignore[arg-type]
    assert trusts.add(CI, "local:ada") in trusts.list()
    with pytest.raises(ConfigError, match="another --issuer-ca"):
        trusts.add(replace(CI, authority="PEM"), "local:ada")


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("refs/tags/v*", ["refs/tags/v1", "refs/tags/v"], ["refs/tags/v1/x", "refs/heads/v1", "xrefs/tags/v1", None]),
        ("refs/*/main", ["refs/heads/main"], ["refs/a/b/main", "refs/heads/main2"]),
        ("a.c", ["a.c"], ["abc"]),
        ("*", ["", "a"], ["a/b", ["a"]]),
    ],
)
def test_a_star_stands_for_anything_but_a_slash(pattern: str, fits: list[str], does_not: list[object]) -> None:
    trust = Trust("", "ci", "https://ci.local", "a", {}, {"ref": pattern}, ("blink",))
    assert [trust.mismatch({"aud": "a", "ref": ref}) for ref in fits] == [""] * len(fits)
    assert all(trust.mismatch({"aud": "a", "ref": ref}) for ref in does_not)


def test_numbers_and_flags_are_claims_too() -> None:
    trust = Trust("", "ci", "https://ci.local", "a", {"id": "12", "protected": "true"}, {}, ("blink",))
    assert not trust.mismatch({"aud": "a", "id": 12, "protected": True})
    assert trust.mismatch({"aud": "a", "id": 12, "protected": 1})


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"format": 1, "trusts": [{}]}', b'{"format": 2, "trusts": []}'])
def test_a_damaged_file_of_trusts_lets_nobody_in(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "trusts.json").write_bytes(damage)
    with pytest.raises(InputError):
        TrustFile(tmp_path).of("https://ci.local")
