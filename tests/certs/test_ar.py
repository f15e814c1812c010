"""The ar container: GNU ar is the judge of what we write, and writes what we must read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.certs import ar as archive
from otaseal.certs.ar import Ending, Member
from otaseal.errors import InputError
from support import peers

MEMBERS = (Member("isrgro-96bcec06", b"even"), Member("a", b"odd"), Member("x.der", bytes(range(256)) * 3 + b"!"))


def gnu_ar(folder: Path, members: tuple[Member, ...], flags: str = "qcDS") -> bytes:
    for member in members:
        (folder / member.name).write_bytes(member.data)
    command = [peers.tool("ar", "binutils"), flags, "gnu.ar", *[member.name for member in members]]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "gnu.ar").read_bytes()


def with_header(change: dict[int, bytes]) -> bytes:
    """Return a sound archive in which bytes of the first header are replaced."""
    data = bytearray(archive.serialise(MEMBERS))
    for at, replacement in change.items():
        data[8 + at : 8 + at + len(replacement)] = replacement
    return bytes(data)


def test_what_we_write_is_what_gnu_ar_writes(tmp_path: Path) -> None:
    assert archive.serialise(MEMBERS) == gnu_ar(tmp_path, MEMBERS)


def test_gnu_ar_lists_and_extracts_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "certs.ar").write_bytes(archive.serialise(MEMBERS))
    ar = peers.tool("ar", "binutils")
    listed = subprocess.run([ar, "t", "certs.ar"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert listed.stdout.split() == [member.name for member in MEMBERS]
    subprocess.run([ar, "x", "certs.ar"], cwd=tmp_path, check=True)
    assert [(tmp_path / member.name).read_bytes() for member in MEMBERS] == [member.data for member in MEMBERS]


def test_a_device_reads_what_we_write() -> None:
    view = archive.device_view(archive.serialise(MEMBERS))
    assert view.ending is Ending.COMPLETE
    assert len(view.indexed) == len(MEMBERS)
    assert [Member(found.name, found.data) for found in view.indexed] == list(MEMBERS)


def test_a_device_reads_what_gnu_ar_writes_with_its_times_and_owners(tmp_path: Path) -> None:
    data = gnu_ar(tmp_path, MEMBERS, "qcU")
    view = archive.device_view(data)
    assert [(found.name, found.data) for found in view.indexed] == [(each.name, each.data) for each in MEMBERS]


def test_a_device_skips_the_table_of_long_names_and_reads_the_members_that_use_it(tmp_path: Path) -> None:
    members = (
        Member("our_ca_cert_long.der", b"first"),
        Member("short.der", b"second!"),
        Member("our_other_ca.der", b"3"),
    )
    data = gnu_ar(tmp_path, members)
    view = archive.device_view(data)
    assert view.members[0].skipped
    assert [(found.name, found.data) for found in view.indexed] == [(each.name, each.data) for each in members]


def test_a_thin_archive_is_nothing_to_a_device(tmp_path: Path) -> None:
    data = gnu_ar(tmp_path, MEMBERS, "qcDST")
    assert archive.device_view(data) == archive.DeviceView((), Ending.THIN, 0)


def test_a_bsd_name_is_part_of_what_a_device_takes_for_the_certificate() -> None:
    body = b"our_ca_cert_long.der" + b"DER"
    data = b"!<arch>\n" + b"#1/20           " + with_header({})[24:56] + b"%-10d`\n" % len(body) + body + b"\n"
    (found,) = archive.device_view(data).indexed
    assert (found.name, found.data) == ("our_ca_cert_long.der", body)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([Member("sixteen-letters.", b"x")], "cannot be the name"),
        ([Member("", b"x")], "cannot be the name"),
        ([Member("//", b"x")], "cannot be the name"),
        ([Member("../escape", b"x")], "cannot be the name"),
        ([Member("a b", b"x")], "cannot be the name"),
        ([Member("new\n", b"x")], "cannot be the name"),
        ([Member("ca", b"")], "has 0 bytes"),
        ([Member("ca", bytes(archive.MEMBER_LIMIT + 1))], "has 65537 bytes"),
        ([Member("ca", b"1"), Member("ca", b"2")], "two members"),
    ],
)
def test_what_a_device_could_not_read_is_not_written(members: list[Member], said: str) -> None:
    with pytest.raises(InputError, match=said):
        archive.serialise(members)


@pytest.mark.parametrize(
    ("change", "ending", "count"),
    [
        ({48: b"0         "}, Ending.ZERO_SIZE, 0),
        ({48: b"+-4       "}, Ending.BAD_SIZE, 0),
        ({112: b"0         "}, Ending.ZERO_SIZE, 1),
        ({112: b"-1        "}, Ending.BAD_SIZE, 1),
        ({112: b"many      "}, Ending.BAD_SIZE, 1),
        ({112: b"          "}, Ending.BAD_SIZE, 1),
        ({112: b"9999999999"}, Ending.TRUNCATED, 1),
        ({112: b"\t +3x     "}, Ending.COMPLETE, 3),
        ({58: b"xx", 16: b"yesterday", 0: b"\0\xff"}, Ending.COMPLETE, 3),
        ({0: b"//"}, Ending.COMPLETE, 2),
    ],
)
def test_where_a_device_stops(change: dict[int, bytes], ending: Ending, count: int) -> None:
    view = archive.device_view(with_header(change))
    assert (view.ending, len(view.indexed)) == (ending, count)


def test_a_device_does_not_mind_a_missing_last_padding_byte() -> None:
    view = archive.device_view(archive.serialise(MEMBERS)[:-1])
    assert (view.ending, len(view.indexed)) == (Ending.COMPLETE, 3)


NAMES = st.from_regex(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,14}", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(Member, NAMES, st.binary(min_size=1, max_size=300)), unique_by=lambda member: member.name))
def test_members_survive_the_round_trip(members: list[Member]) -> None:
    data = archive.serialise(members)
    assert [Member(found.name, found.data) for found in archive.device_view(data).indexed] == members
