"""A store is copied between a directory and a database, with all that it has; into an empty one, or not at all."""

from __future__ import annotations

import stat
from datetime import datetime, timezone
from pathlib import Path

import psycopg
import pytest

from otaseal.errors import CorruptStoreError, InputError
from otaseal.release.notes import Notes
from otaseal.store.backend import Backend, open_backend, open_new
from otaseal.store.copying import DEVICES, SECRETS, backup, copy, restore
from otaseal.store.device_rows import Sighting
from otaseal.store.enrolments import Applicant, Asking, Enrolments
from otaseal.store.labels import Label, Labels
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.release_notes import ReleaseNotes
from otaseal.store.tag_rules import TagRule
from otaseal.store.token_uses import TokenUses
from otaseal.store.tokens import TokenFile
from support.command import Command, otaseal  # noqa: F401
from support.filled_store import BACKENDS, damage_blob, everything, fill, new_location

NOW = datetime(2030, 1, 31, tzinfo=timezone.utc)
AT = NOW.timestamp()
MACS = ("5C:CF:7F:F0:04:CB", "5C:CF:7F:00:00:01")
OTHER = {"files": "postgresql", "postgresql": "files"}
WAYS = pytest.mark.parametrize(("backend", "other"), OTHER.items())

Kept = tuple[dict[str, object], dict[str, list[object]]]


def fill_all(backend: Backend) -> None:
    """Put something into every table and document."""
    fill(backend.store)
    TokenFile(backend.store.documents).issue("ci", "*", "*", 1, NOW)
    keys = ProofKeys(backend.secrets)
    keys.enrol("blink", MACS[0], bytes(32), AT)
    keys.agree("blink", MACS[1], b"\xff" * 32, AT + 0.1)
    keys.show("blink", MACS[1], b"\x01" * 32, "192.0.2.1", AT + 1 / 3)
    keys.write()
    keys.close(AT + 1)
    enrolments = Enrolments(backend.secrets)
    _, code = enrolments.claims.issue("blink", "", 7, 2, NOW)
    enrolments.ask(Asking("blink", MACS[0], "k1", b"\x00csr"), Applicant(claim=code), AT)
    notes = ReleaseNotes(backend.secrets)
    notes.set("blink", "1.0.0", Notes("security", "A hole less.", "CVE-2026-12345", "Update."))
    notes.set_support_ends("blink", "2031-12-31")
    uses = TokenUses(backend.secrets)
    uses.note("1a2b3c4d")
    uses.write({"1a2b3c4d"}, now=True)
    Labels(backend.secrets).set("blink", f"mac:{MACS[0]}", Label("kitchen", "by the door", frozenset({"indoor"}), True))
    Labels(backend.secrets).rules.set("blink", TagRule("old", version="1.*"))
    with backend.seen() as devices:
        assert devices is not None
        with devices.batch([("blink", f"mac:{mac}") for mac in MACS]) as rows:
            for number, mac in enumerate(MACS):
                rows.see(Sighting("blink", "stable", f"mac:{mac}", "ab" * 16, f"1.{number}", mac), AT + number / 3)
        devices.begin("blink", "stable", "1.1.0", AT)
        with devices.transaction() as transaction:
            said = ("blink", f"mac:{MACS[0]}", "cd" * 16, "1.0", "stable", "192.0.2.1", AT)
            transaction.execute(f"INSERT INTO statements VALUES ({', '.join('?' * len(said))})", said)


def kept(location: str) -> Kept:
    """Return all that a store keeps: documents, blobs and log; and the rows of its tables."""
    with open_backend(location) as backend, backend.hold() as held:
        tables = {
            table: sorted(map(list, transaction.execute(f"SELECT {', '.join(names)} FROM {table}")), key=repr)
            for transaction, columns in ((held.secrets, SECRETS), (held.devices, DEVICES))
            for table, names in columns.items()
        }
        return everything(backend.store), tables


def filled(backend: str, folder: Path) -> str:
    location = new_location(backend, folder / "source")
    with open_new(location) as opened:
        if backend == "files":
            with opened.hold():
                pass
        fill_all(opened)
    return location


@WAYS
def test_everything_is_copied_and_back(tmp_path: Path, otaseal: Command, backend: str, other: str) -> None:  # noqa: F811
    source, there = filled(backend, tmp_path), new_location(other, tmp_path / "a")
    back = new_location(backend, tmp_path / "b")
    said = otaseal("store", "copy", source, there).succeeded().out
    assert "2 devices" in said
    assert len(said.splitlines()) == 1
    counts = otaseal("store", "copy", there, back, "--json").succeeded().json
    before = kept(source)
    assert all(before[1][table] for table in (*SECRETS, *DEVICES))
    assert kept(there) == kept(back) == before
    assert (counts["blobs"], counts["devices"], counts["secrets"]) == (3, 2, 11)
    directory = Path(there if other == "files" else back)
    for name in ("tokens.json", "secrets.sqlite"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    for location in (there, back):
        otaseal("store", "check", location).succeeded()
    if backend == "files":
        assert (Path(source) / "audit.log").read_bytes() == (Path(back) / "audit.log").read_bytes()


@WAYS
def test_a_backup_of_one_is_restored_in_the_other(tmp_path: Path, otaseal: Command, backend: str, other: str) -> None:  # noqa: F811
    source, there = filled(backend, tmp_path), new_location(other, tmp_path)
    otaseal("store", "backup", source, tmp_path / "a.tar").succeeded()
    otaseal("store", "restore", tmp_path / "a.tar", there).succeeded()
    documents, tables = kept(source)
    assert kept(there) == (documents, tables | {table: [] for table in DEVICES}), "devices seen are in no backup"
    with pytest.raises(InputError, match="exists already"):
        backup(source, tmp_path / "a.tar")
    with pytest.raises(InputError, match="is not empty"):
        restore(tmp_path / "a.tar", there)
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "store", "a.tar", "home"}


@pytest.mark.parametrize("other", BACKENDS)
def test_a_store_that_is_not_empty_is_left_alone(tmp_path: Path, other: str) -> None:
    source, there = filled("files", tmp_path), new_location(other, tmp_path)
    with open_new(there) as target:
        TokenFile(target.store.documents).issue("mine", "*", "*", 1, NOW)
    before = kept(there)
    with open_backend(source) as opened, pytest.raises(InputError, match="is not empty"):
        copy(opened, there)
    assert kept(there) == before


@WAYS
def test_a_copy_that_is_broken_off_leaves_nothing_and_is_made_again(tmp_path: Path, backend: str, other: str) -> None:
    source, there = filled(backend, tmp_path), new_location(other, tmp_path)
    with open_backend(source) as opened:
        digest = max(opened.store.documents.blobs())
        whole = opened.store.read_blob(digest)
        damage_blob(opened.store, digest)
        with pytest.raises(CorruptStoreError, match="is damaged"):
            copy(opened, there)
        if other == "files":
            assert not Path(there).exists()
            assert not list(tmp_path.glob(".*"))
        else:
            assert (kept(there)[0], any(kept(there)[1].values())) == ({"audit": []}, False)
        damage_blob(opened.store, digest, whole)
        copy(opened, there)
    assert kept(there) == kept(source)


def test_commands_for_a_database(tmp_path: Path, otaseal: Command) -> None:  # noqa: F811
    url = filled("postgresql", tmp_path)
    token = otaseal("token", "new", "ci2", "--store", url).succeeded().out.strip()
    assert len(token) > 20
    assert "ci2" in otaseal("token", "list", "--store", url).succeeded().out
    code = otaseal("claim", "new", "--store", url, "--product", "blink").succeeded().out.strip()
    assert len(code) == 19
    claims = otaseal("claim", "list", "--store", url, "--json").succeeded().json
    assert len(claims) == 2
    otaseal("claim", "revoke", claims[0]["id"], "--store", url).succeeded()
    assert len(otaseal("claim", "list", "--store", url, "--json").succeeded().json) == 1
    assert "whole" in otaseal("store", "check", url, "--json").succeeded().out
    assert otaseal("store", "prune", url, "--keep", "1", "--json").succeeded().json["kept"] == 3
    otaseal("store", "create", url).failed(1, "already")


def test_a_role_that_may_not_make_tables_serves_from_those_that_are_there(tmp_path: Path, otaseal: Command) -> None:  # noqa: F811
    url = new_location("postgresql", tmp_path)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS server")
        connection.execute("CREATE ROLE server LOGIN")
    theirs = url.replace("otaseal@", "server@")
    otaseal("store", "create", theirs).failed(3, "refuses: permission denied")
    otaseal("store", "create", url).succeeded()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO server")
    otaseal("token", "new", "ci", "--store", theirs).succeeded()
    assert "has the schema" in otaseal("store", "upgrade", url).succeeded().out
    with open_backend(theirs) as backend:
        fill_all(backend)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY server")
        connection.execute("DROP ROLE server")
