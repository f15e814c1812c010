"""The audit log from its end: the same lines as from its beginning, whatever the disk has after the last whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from otaseal.errors import CorruptStoreError
from otaseal.store.audit_log import BLOCK, MAX_LINE, append, lines, lines_back
from otaseal.store.store import Store
from support.filled_store import either  # noqa: F401 - a fixture


def test_either_store_reads_it_backwards_and_goes_on_anywhere(either: Store) -> None:  # noqa: F811
    for number in range(5):
        either.record_event({"event": "forget", "number": number})
    found = list(either.documents.audit_back())
    assert [line["number"] for _, line in found if line is not None] == [4, 3, 2, 1, 0]
    for place, (at, _) in enumerate(found):
        assert list(either.documents.audit_back(at)) == found[place + 1 :]
    assert list(either.documents.audit_back(2**70)) == found
    assert list(either.documents.audit_back(0)) == []


@pytest.mark.parametrize("end", [b"", b"{half a li", b"{" * 3 * MAX_LINE])
def test_lines_of_every_length_across_blocks(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "audit.log"
    assert list(lines_back(path)) == []
    for number in range(200):
        append(path, {"event": "x" * (number * 97 % (MAX_LINE - 200)), "number": number})
    path.write_bytes(path.read_bytes() + b"no json\n" + end)
    assert path.stat().st_size > 10 * BLOCK
    back = list(lines_back(path))
    if not end:
        assert [line for _, line in back] == [line for _, line in lines(path)][::-1]
    assert [line["number"] for _, line in back if line is not None] == list(range(199, -1, -1))
    assert back[0][1] is None, "a damaged line has its place"
    data = path.read_bytes()
    assert all(at == 0 or data[at - 1 : at] == b"\n" for at, _ in back)


def test_what_is_no_log_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"x" * 3 * BLOCK + b"\n{}\n")
    with pytest.raises(CorruptStoreError, match="has a line without an end"):
        list(lines_back(path))
