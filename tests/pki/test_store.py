"""Authorities on disk: found again, never overwritten, never half, never readable by others, whatever gets killed."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import ConfigError, InputError, KeyRefusedError
from otaseal.files import write_new
from otaseal.pki import KeyType, Role, store
from otaseal.pki.authority import load_private_key
from otaseal.pki.certificate import parse_certificates
from otaseal.pki.index import Entry, parse_index, serialize_index
from otaseal.pki.places import default_directory
from otaseal.pki.store import Slot, Store
from support import peers
from support.filled_store import content
from support.killed_at import NOW

TOOLS = Path(__file__).parents[2] / "tools"
NAMES = ["192.0.2.7", "update.local"]
LEAF = (
    r"(issued|revoked)/(server|device|operator)/[a-z0-9-]+/(key|chain)\.pem|issued/device/5C-CF-7F-00-00-01/chain\.pem"
)
ROOT = r"(server-ca|server-ca-next|device-ca|operator-ca|server-ca-retired-[0-9a-f]+)/(key|certificate|crl)\.pem"
EXPECTED = re.compile(rf"{LEAF}|{ROOT}|index\.json|revoked\.json|\.lock")
SWEPT = re.compile(r".*\.(index\.json|revoked\.json|chain\.pem|crl\.pem)\.[^/]+\.tmp")  # public, and swept by the next


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))
    return Store.create(tmp_path / "pki", "blink", NOW, b"secret")


def assert_sound(directory: Path) -> None:
    """Nothing half, nothing left over, no key that others can read."""
    for name, data in content(directory).items():
        assert EXPECTED.fullmatch(name) or SWEPT.fullmatch(name), name
        assert (b"PRIVATE" in data) == name.endswith("/key.pem"), name
        if name.endswith("/key.pem"):
            assert (directory / name).stat().st_mode & 0o7777 == 0o600
            load_private_key(data, b"secret" if b"ENCRYPTED" in data else None)
        elif EXPECTED.fullmatch(name) and name.endswith(("chain.pem", "certificate.pem")):
            assert parse_certificates(data)
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.rglob("key.pem"))


def test_creating_again_changes_nothing(made: Store) -> None:
    before = content(made.directory)
    again = Store.create(made.directory, "blink", NOW + timedelta(days=1), b"secret")
    assert content(made.directory) == before
    assert_sound(made.directory)
    assert {slot: again.authority(slot).role for slot in Slot} == {slot: slot.role for slot in Slot}
    assert len({again.certificate(slot).subject for slot in Slot}) == len(Slot)


def test_the_default_keys(tmp_path: Path) -> None:
    """RSA for what devices verify; the one test that makes those slow keys."""
    fresh = Store.create(tmp_path / "pki", "blink", NOW)
    sizes = {slot: fresh.authority(slot).key.key_size for slot in Slot}
    assert sizes == {Slot.SERVER: 2048, Slot.SERVER_NEXT: 2048, Slot.DEVICE: 256, Slot.OPERATOR: 256}


def test_what_is_issued_is_listed_and_loads(made: Store) -> None:
    server = made.issue_server("main", NAMES, now=NOW, key=KeyType.P_256)
    made.issue_device("esp-1", now=NOW)
    made.issue_operator("alice", now=NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server / "chain.pem", server / "key.pem")
    assert [(one.role, one.name) for one in made.list()] == [
        ("server", "main"),
        ("device", "esp-1"),
        ("operator", "alice"),
    ]
    assert_sound(made.directory)


def test_nothing_is_issued_twice_under_one_name(made: Store) -> None:
    made.issue_device("esp-1", now=NOW)
    before = content(made.directory)
    with pytest.raises(InputError, match="exists already"):
        made.issue_device("esp-1", now=NOW)
    assert content(made.directory) == before


@pytest.mark.parametrize("passphrase", [b"wrong", None])
def test_a_wrong_passphrase_changes_nothing(made: Store, passphrase: bytes | None) -> None:
    made.issue_device("esp-1", now=NOW)
    before = content(made.directory)
    locked = Store(made.directory, "blink", passphrase)
    for attempt in (
        lambda: locked.issue_device("esp-2", now=NOW),
        lambda: locked.renew(Role.DEVICE, "esp-1", now=NOW),
        lambda: locked.revoke(Role.DEVICE, "esp-1", now=NOW),
    ):
        with pytest.raises(KeyRefusedError):
            attempt()
    assert content(made.directory) == before
    assert len(locked.list()) == 1, "listing needs no passphrase"


def test_the_passphrase_stands_nowhere(made: Store) -> None:
    assert "secret" not in repr(made)
    assert not any(b"secret" in data for data in content(made.directory).values())


def test_renewal_keeps_key_and_names(made: Store) -> None:
    folder = made.issue_server("main", NAMES, now=NOW, key=KeyType.P_256)
    old, key = parse_certificates((folder / "chain.pem").read_bytes())[0], (folder / "key.pem").read_bytes()
    later = NOW + timedelta(days=300)
    assert made.renew(Role.SERVER, "main", now=later) == folder
    new = parse_certificates((folder / "chain.pem").read_bytes())[0]
    assert (folder / "key.pem").read_bytes() == key
    assert new.key == old.key
    assert new.x509.serial_number != old.x509.serial_number
    assert new.alternatives == old.alternatives
    assert new.valid_at(later + timedelta(days=200))
    assert not old.valid_at(later + timedelta(days=200))


def test_when_renewal_is_due(made: Store) -> None:
    made.issue_server("main", NAMES, now=NOW, key=KeyType.P_256)
    early, late = NOW + timedelta(days=366 * 2 / 3 - 2), NOW + timedelta(days=366 * 2 / 3)
    assert made.due(early) == ()
    assert [one.name for one in made.due(late)] == ["main"]
    made.renew(Role.SERVER, "main", now=late)
    assert made.due(late) == ()


def test_a_revoked_device_is_on_both_lists(made: Store, tmp_path: Path) -> None:
    """Its renewed certificates too; openssl reads the list and refuses exactly those."""
    folder = made.issue_device("esp-1", now=NOW)
    first = (folder / "chain.pem").read_bytes()
    second = (made.renew(Role.DEVICE, "esp-1", now=NOW) / "chain.pem").read_bytes()
    other = (made.issue_device("esp-2", now=NOW) / "chain.pem").read_bytes()
    serials = {one.serial for one in made.revoke(Role.DEVICE, "esp-1", now=NOW)}
    assert set(json.loads((made.directory / "revoked.json").read_bytes())["revoked"]["device"]) == serials
    assert [openssl_takes(made, one, tmp_path) for one in (first, second, other)] == [False, False, True]
    assert not folder.exists()
    replacement = (made.issue_device("esp-1", now=NOW) / "chain.pem").read_bytes()
    assert openssl_takes(made, replacement, tmp_path), "the name is free again"
    with pytest.raises(InputError, match="nothing is issued"):
        made.revoke(Role.DEVICE, "esp-9", now=NOW)


def openssl_takes(made: Store, chain: bytes, folder: Path) -> bool:
    leaf = folder / "leaf.pem"
    leaf.write_bytes(chain)
    authority = made.directory / "device-ca"
    command = [peers.tool("openssl", "openssl"), "verify", "-x509_strict", "-crl_check", "-purpose", "sslclient"]
    command += ["-attime", str(int(NOW.timestamp()) + 3600), "-CAfile", authority / "certificate.pem"]
    command += ["-CRLfile", authority / "crl.pem", leaf]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "certificate revoked" in done.stderr, done
    return done.returncode == 0


@pytest.mark.parametrize("name", ["../esp", "a/b", "", ".hidden"])
def test_a_name_stays_in_its_directory(made: Store, name: str) -> None:
    before = content(made.directory)
    with pytest.raises(ConfigError):
        made.issue_device(name, now=NOW)
    with pytest.raises(ConfigError):
        default_directory(made.directory, name)
    assert content(made.directory) == before


def test_a_bad_server_name_costs_no_key(made: Store) -> None:
    before = content(made.directory)
    with pytest.raises(ConfigError):
        made.issue_server("main", ["https://x"], now=NOW)
    assert content(made.directory) == before


def test_a_new_file_never_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_new(path, b"first", 0o600)
    with pytest.raises(InputError, match="exists already"):
        write_new(path, b"second", 0o600)
    assert content(tmp_path) == {"key.pem": b"first"}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.proof
def test_killed_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGKILL before each file-system call in turn: whole files only, and the next call goes on from there."""
    monkeypatch.setattr(store, "AUTHORITY_KEYS", dict.fromkeys(Role, KeyType.P_256))
    helper = Path(__file__).parents[1] / "support" / "killed_at.py"
    subprocess.run([sys.executable, helper, tmp_path], check=True, env={"PYTHONPATH": str(TOOLS)}, timeout=300)
    rounds = sorted((path for path in tmp_path.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    assert len(rounds) > 50
    for directory in filter(Path.exists, rounds):
        assert_sound(directory)
        keys = {data for name, data in content(directory).items() if name.endswith("/key.pem")}
        again = Store.create(directory, "blink", NOW)
        listed = again.list()
        after = content(directory)
        assert not any(name.endswith(".tmp") for name in after)
        assert keys <= set(after.values()), "no key is lost or replaced"
        assert {again.authority(slot).role for slot in Slot} == set(Role)
        on_disk = {path for path in after if path.endswith("/chain.pem")}
        assert {f"{parse_certificates(after[path])[0].x509.serial_number:x}" for path in on_disk} <= {
            one.serial for one in listed
        }, "whatever was issued can be revoked"


def test_a_key_is_private_from_the_first_instant(tmp_path: Path) -> None:
    """Watched by strace: opened without a name and with 0600, named only when it is whole."""
    code = (
        "from otaseal.files import write_new; import sys, pathlib;"
        "write_new(pathlib.Path(sys.argv[1], 'key.pem'), b'KEYBYTES', 0o600)"
    )
    log = tmp_path / "log"
    command = [peers.tool("strace", "strace"), "-f", "-o", log, "-e", "trace=openat,write,fchmod,chmod,link,linkat"]
    command += [sys.executable, "-c", code, tmp_path]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(TOOLS)}, timeout=120)
    lines = [
        line.split(maxsplit=1)[1]
        for line in log.read_text().splitlines()
        if str(tmp_path) in line or "KEYBYTES" in line or "key.pem" in line
    ]
    calls = [line for line in lines if "O_DIRECTORY|O_CLOEXEC" not in line]
    assert re.search(r"O_TMPFILE.*, 0600\)", calls[0]), calls
    assert [line.split("(")[0] for line in calls if "O_RDONLY" not in line] == ["openat", "write", "linkat"]
    assert not any("O_CREAT" in line for line in calls)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_refused(data: bytes) -> None:
    try:
        entries = parse_index(data)
    except InputError:
        return
    assert parse_index(serialize_index(entries)) == entries


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)).map(
    lambda moment: moment.isoformat(timespec="seconds")
)
ENTRIES = st.builds(
    Entry,
    serial=st.integers(1, 2**159).map("{:x}".format),
    role=st.sampled_from([role.value for role in Role]),
    name=st.text("ab1-.", min_size=1, max_size=9),
    issuer=st.binary(max_size=20).map(bytes.hex),
    not_before=TIMES,
    not_after=TIMES,
    revoked=st.none() | TIMES,
)


@given(st.lists(ENTRIES, max_size=4).map(tuple))
def test_an_index_is_read_as_it_was_written(entries: tuple[Entry, ...]) -> None:
    assert parse_index(serialize_index(entries)) == entries
    damaged = serialize_index(entries).replace(b'"role"', b'"rule"')
    if entries:
        with pytest.raises(InputError, match="damaged"):
            parse_index(damaged)
