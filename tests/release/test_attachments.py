"""What may come with a release: JSON objects in UTF-8, and nothing that an answer could not quote."""

from __future__ import annotations

import pytest

from otaseal.errors import InputError
from otaseal.release.attachments import LIMITS, parse


@pytest.mark.parametrize("kind", LIMITS)
def test_an_attachment_is_an_object_in_utf_8(kind: str) -> None:
    assert parse(kind, '{"of": "é"}'.encode()) == {"of": "é"}
    for data in ('{"of": "é"}'.encode("utf-16"), b"\xef\xbb\xbf{}", b'{"of": "\xed\xa0\x80"}', b"{", b""):
        with pytest.raises(InputError, match=f"the {kind} is not JSON"):
            parse(kind, data)
    with pytest.raises(InputError, match=f"the {kind} is not a JSON object"):
        parse(kind, b"[]")
