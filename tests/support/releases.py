"""Release records for stores that never look into the bytes, and what a reader sees of a store."""

from __future__ import annotations

import hashlib

from otaseal.release.archive_record import ArchiveRecord
from otaseal.release.channels import Channel
from otaseal.release.records import Form, Release
from otaseal.store.store import Store


def make_release(version: str, *blobs: bytes, product: str = "blink") -> Release:
    """Return the record of a release with a raw form, and a gzip form if there are two blobs."""
    forms = tuple(
        Form(kind, hashlib.sha256(blob).hexdigest(), len(blob), hashlib.md5(blob).hexdigest(), len(blob))
        for kind, blob in zip(("raw", "gzip"), blobs, strict=False)
    )
    return Release(
        product=product,
        version=version,
        created="2026-01-31T12:00:00Z",
        board="nodemcuv2",
        git_commit="",
        dirty=False,
        core_release="3.1.2",
        flash_mode=None,
        flash_size=None,
        sketch_size=len(blobs[0]),
        sketch_md5=(forms[0].md5,) * 4,
        key_fingerprint="SHA256:" + "0" * 64,
        forms=forms,
    )


def make_archive(data: bytes, counter: int = 0) -> ArchiveRecord:
    """Return the record of a signed certificate archive that nobody looks into."""
    digest = hashlib.sha256(data).hexdigest()
    md5 = hashlib.md5(data).hexdigest()
    return ArchiveRecord(digest, md5, len(data), digest, 3, counter, 1_900_000_000, "SHA256:" + "0" * 64)


View = tuple[
    dict[tuple[str, str], Release], dict[tuple[str, str], Channel | None], dict[tuple[str, str], ArchiveRecord | None]
]


def view(store: Store) -> View:
    """Return all releases and channels, after reading every byte that they lead to; raises for anything torn."""
    products = store.products()
    releases = {(name, version): store.release(name, version) for name in products for version in store.releases(name)}
    for release in releases.values():
        for form in release.forms:
            assert len(store.read_blob(form.blob)) == form.size
    channels = {(name, one): store.current(name, one) for name in products for one in store.channels(name)}
    for (product, _), channel in channels.items():
        assert channel is not None
        for version in channel.versions:
            assert (product, version) in releases, f"a channel of '{product}' needs '{version}', which is not there"
    archives = {(name, one): store.archive(name, one) for name in products for one in store.archives(name)}
    for record in archives.values():
        assert record is not None
        assert len(store.read_blob(record.blob)) == record.size
    return releases, channels, archives
