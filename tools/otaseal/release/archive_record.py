"""Which certificate archive a channel gives out: the record of a signed `certs.ar`, as a value and as JSON.

Devices that carry the OtaSeal library fetch it over the channel that they verify already, so that an authority can be
replaced without a filesystem update (F14). Pure: where the file lies is the `store`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ..errors import InputError
from . import checksummed, fields

MAX_SIGNED_ARCHIVE = 256 * 1024
"""Bytes of a signed archive, which the device's library bounds, too: all public authorities together have 140 KB."""
MAX_RECORD_BYTES = 4 * 1024
MAX_CERTIFICATES = 2000
_HINT = "restore it from a backup"
_FIELDS: Mapping[str, fields.Check] = {
    "blob": fields.SHA256,
    "md5": fields.MD5,
    "size": fields.number(1, MAX_SIGNED_ARCHIVE),
    "archive": fields.SHA256,
    "certificates": fields.number(1, MAX_CERTIFICATES),
    "counter": fields.number(0, 0xFFFFFFFF),
    "built": fields.number(0, 0xFFFFFFFF),
    "key_fingerprint": fields.FINGERPRINT,
    "generation": fields.number(1, 2**53),
}


@dataclass(frozen=True)
class ArchiveRecord:
    """One signed archive: `blob` (SHA-256), `md5` and `size` (bytes) are those of what is sent.

    `archive` is the SHA-256 of the `certs.ar` in it, which a device reports; `certificates` how many it has;
    `counter` and `built` (Unix seconds) are the manifest's, `key_fingerprint` the signer's, `generation` counts what a
    channel gave out, from 1.
    """

    blob: str
    md5: str
    size: int
    archive: str
    certificates: int
    counter: int
    built: int
    key_fingerprint: str
    generation: int = 1

    def __post_init__(self) -> None:
        for name, fits in _FIELDS.items():
            if not fits(getattr(self, name)):
                raise InputError(f"{name} of an archive cannot be '{str(getattr(self, name))[:80]}'", _HINT)

    def after(self, before: ArchiveRecord | None) -> ArchiveRecord:
        """Return the record as the successor of `before` in a channel."""
        return replace(self, generation=1 if before is None else before.generation + 1)

    def to_json(self) -> bytes:
        """Return the record file's content: equal records give equal bytes."""
        return checksummed.dump(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> ArchiveRecord:
        """Return the record in `data`; raises LaterFormatError, and InputError for what no otaseal has written."""
        values = checksummed.load(data, MAX_RECORD_BYTES, "the record of an archive", _FIELDS)
        if set(values) != set(_FIELDS):
            raise InputError("the record of an archive has other fields than it should", _HINT)
        return cls(**values)
