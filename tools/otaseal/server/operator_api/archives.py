"""Certificate archives on the server: taken from operators when devices would still accept this server with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ... import files
from ...errors import NotFoundError
from ...release import signed_archive
from ...release.archive_record import ArchiveRecord
from ...release.signed_archive import PresentedChain
from ..catalog import Catalog

MAX_CHAIN_BYTES = 256 * 1024
MAX_NAMES = 8


@dataclass(frozen=True)
class Archives:
    """The archives of a catalog's store. `chain` is the file of the server's own chain (PEM), read when it is needed;
    `names` are those by which devices call the server, empty for those in its certificate.
    """

    catalog: Catalog
    chain: Path
    names: tuple[str, ...] = ()

    def publish(self, product: str, channel: str, data: bytes, **noted: str) -> ArchiveRecord:
        """Give out the signed archive `data` in a channel; raises what `signed_archive.admit` and the store raise.

        `noted` is for the audit log, as `Store.publish_archive` has it.
        """
        store = self.catalog.store
        current = store.archive(product, channel)
        now = datetime.now(timezone.utc)
        keys = list(self.catalog.keys(product).values())
        record = signed_archive.admit(data, product, keys, current, self.presented(), now)
        if current is not None and current.blob == record.blob:
            return current  # sent once more, after a lost answer or by a repeated CI run
        expected = 0 if current is None else current.generation
        return store.publish_archive(product, channel, record, data, expected=expected, **noted)

    def current(self, product: str, channel: str) -> ArchiveRecord:
        """Return what a channel gives out; raises NotFoundError."""
        record = self.catalog.store.archive(product, channel)
        if record is None:
            raise NotFoundError(
                f"channel '{channel}' of '{product}' gives out no certificates", "otaseal certs deploy gives it some"
            )
        return record

    def presented(self) -> PresentedChain:
        """Return what this server shows to devices."""
        from ...pki.certificate import parse_certificates

        chain = parse_certificates(files.read_bounded(self.chain, MAX_CHAIN_BYTES, "chain"))
        return PresentedChain([certificate.der for certificate in chain], self.names or names_in(chain[0].der))


def names_in(leaf: bytes) -> tuple[str, ...]:
    """Return the first MAX_NAMES DNS names in a certificate (DER), an address given as text among them (F22)."""
    from ...pki.certificate import parse_certificate

    alternatives = parse_certificate(leaf).alternatives
    return alternatives.hosts[:MAX_NAMES] if alternatives else ()
