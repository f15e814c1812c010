"""Whatever bytes an archive or a certificate file holds, they are read, or refused with our error."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from otaseal.certs import ar, certstore
from otaseal.certs.ar import Ending, Member
from otaseal.certs.pem import Source
from otaseal.errors import OtasealError
from support import cas

SOUND = ar.serialise([Member("first-0011", b"some"), Member("second", b"other"), Member("x", b"\n")])


@st.composite
def torn(draw: st.DrawFn, whole: bytes = SOUND) -> bytes:
    """Return sound bytes with a few cut, overwritten or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 70)))
        data[at:end] = draw(
            st.one_of(st.binary(max_size=12), st.sampled_from([b"0", b" ", b"//", b"`\n", b"-1", b"/"]))
        )
    return bytes(data)


ANY_BYTES = st.one_of(torn(), st.binary(max_size=400), st.binary(max_size=400).map(lambda tail: SOUND[:8] + tail))


@settings(max_examples=300, deadline=None)
@given(ANY_BYTES)
@example(b"")
@example(SOUND)
@example(SOUND[:8])
def test_a_device_reads_members_that_are_in_the_bytes(data: bytes) -> None:
    view = ar.device_view(data)
    at = 8
    for member in view.members:
        at = data.index(member.data, at + 60) + len(member.data)
        assert member.name.isprintable()
    assert view.ending is not Ending.COMPLETE or len(data) <= view.stopped_at


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_check_never_raises(data: st.DataObject) -> None:
    whole = ar.serialise([Member("root", cas.root()), Member("other", cas.root("Another Workshop of Things CA"))])
    report = certstore.check(data.draw(torn(whole)), cas.NOW)
    assert all(finding.message.isprintable() and finding.name.isprintable() for finding in report.findings)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_certificate_file_packs_to_what_passes_the_check_or_raises(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([cas.root(), cas.pem(cas.root()), cas.pem(cas.root()) * 2, b"", b"text\n"]))
    file = Source("ca", data.draw(st.one_of(torn(whole), st.just(whole))))
    try:
        packed = certstore.pack([file], cas.NOW)
    except OtasealError:
        return
    assert not certstore.check(packed.archive, cas.NOW).errors
    members = [Member(member.name, member.data) for member in ar.device_view(packed.archive).indexed]
    assert ar.serialise(members) == packed.archive


def test_a_device_reads_a_cut_archive_up_to_the_cut() -> None:
    first, second = 8 + 60 + 4, 8 + 60 + 4 + 60 + 5  # where members end: there a cut leaves a shorter archive
    for length in range(8, len(SOUND) - 1):
        view = ar.device_view(SOUND[:length])
        assert (view.ending is Ending.COMPLETE) == (length in (8, first, second, second + 1))
        assert len(view.indexed) == (length >= first) + (length >= second)
