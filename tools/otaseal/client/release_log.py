"""The client for the log of a product's releases: its next entry, and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..release.records import Release
from ..release.release_log import Entry, Head, sign
from .client import Client, product_path

if TYPE_CHECKING:
    from ..keys.signers import Signer


def next_entry(client: Client, release: Release, attached: Mapping[str, bytes], signer: Signer) -> bytes:
    """Return the entry that follows the log of the server, of a release with these attachments; raises as `get`."""
    answer = client.get(f"{product_path(release.product, 'log')}?limit=1")
    head = Head(answer["head"]["number"], answer["head"]["sha256"])
    return sign(Entry.of(release, attached, head), signer)


def entries(client: Client, product: str) -> Iterator[bytes]:
    """Yield the entries of the log of a product, the first one first; raises as `get`."""
    after: dict[str, str] = {}
    while True:
        answer: Mapping[str, Any] = client.get(f"{product_path(product, 'log')}?{urlencode(after)}")
        yield from (entry.encode() for entry in answer["entries"])
        if answer["next"] is None:
            return
        after = {"after": answer["next"]}
