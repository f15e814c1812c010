"""The log of a product's releases: a chain of entries that publishers sign, so that none is made up or left out.

Pure. Each entry names the one before by its SHA-256. The server checks and keeps them and can sign none; whoever has
seen an entry sees later whether the log still leads there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConflictError, InputError, VerificationError
from ..formats import refuse_later
from . import attachments, dsse
from .records import Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer

PAYLOAD_TYPE = "application/vnd.otaseal.release+json"
FORMAT = 1
WHAT = "the entry of the log"
_DAMAGED = "make the entry again; if it is one of the log already, restore that from a backup"


class Head(NamedTuple):
    """The last entry of a log: its number, counted from 1, and the SHA-256 of its bytes; 0 and "" before the first."""

    number: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Entry:
    """What is said of one release: the SHA-256 of its signed files, sorted, and of its other attachments by kind.

    `previous` is the SHA-256 of the entry before, "" of the first.
    """

    number: int
    previous: str
    product: str
    version: str
    created: str
    files: tuple[str, ...]
    attached: Mapping[str, str]

    @classmethod
    def of(cls, release: Release, attached: Mapping[str, bytes], head: Head) -> Entry:
        """Return the entry of a release with the attachments `attached`, which follows `head`."""
        named = (release.product, release.version, release.created)
        return cls(head.number + 1, head.sha256, *named, _files(release), _digests(attached))

    def follows(self, head: Head) -> bool:
        """Return whether it is the one after `head`."""
        return (self.number, self.previous) == (head.number + 1, head.sha256)

    def is_of(self, release: Release, attached: Mapping[str, bytes]) -> bool:
        """Return whether it is of this release, byte for byte, and of these attachments; its time is not compared."""
        said = (self.product, self.version, self.files, self.attached)
        return said == (release.product, release.version, _files(release), _digests(attached))


def sign(entry: Entry, signer: Signer) -> bytes:
    """Return the entry as it stands in the log: an envelope, JSON."""
    return dsse.seal({"format": FORMAT, **asdict(entry)}, PAYLOAD_TYPE, signer)


def parse(data: bytes) -> Entry:
    """Return what an entry says, whoever signed it; raises InputError, LaterFormatError."""
    return _entry(dsse.payload_of(data, PAYLOAD_TYPE, WHAT))


def admit(release: Release, attached: Mapping[str, bytes], head: Head, keys: Sequence[RSAPublicKey]) -> None:
    """Check the entry among the attachments of a release to a product with these `keys`, whose log has this `head`.

    Raises InputError, VerificationError; ConflictError where it does not follow `head`.
    """
    data = attached.get(attachments.LOG)
    if data is None:
        if head.number:
            raise VerificationError(
                f"the log of '{release.product}' has {head.number} releases, and this one comes without an entry",
                "set custom_otaseal_log = yes and deploy from the build, or give --log-key",
            )
        return
    entry = _entry(dsse.verify(data, PAYLOAD_TYPE, keys, WHAT))
    if not entry.is_of(release, attached):
        raise VerificationError(
            f"{WHAT} is of '{entry.product} {entry.version}', and not of this release with its attachments",
            "deploy again, which makes a new entry",
        )
    refuse_other_head(entry, head)


def refuse_other_files(release: Release, entries: Iterable[bytes]) -> None:
    """Raise ConflictError where an earlier entry has other files for a version: nobody could verify the log then."""
    for entry in map(parse, entries):
        if entry.version == release.version and entry.files != _files(release):
            raise ConflictError(
                f"entry {entry.number} of the log of '{release.product}' has other files for '{release.version}'",
                "a version never changes, even where its release was deleted: deploy under another one",
            )


def refuse_other_head(entry: Entry, head: Head) -> None:
    """Raise ConflictError unless an entry follows `head`."""
    if not entry.follows(head):
        raise ConflictError(
            f"{WHAT} has the number {entry.number}, and the log of '{entry.product}' ends with {head.number}",
            "somebody else published meanwhile: deploy again",
        )


def head_of(number: int, data: bytes) -> Head:
    """Return the head of a log whose last entry is this."""
    return Head(number, hashlib.sha256(data).hexdigest())


def verify(entries: Iterable[bytes], keys: Sequence[RSAPublicKey]) -> Iterator[tuple[Entry, Head]]:
    """Yield the entries of a whole log, each with the head that it makes, as long as they hold.

    Raises VerificationError for the first one that none of `keys` signed, that does not follow the one before, or that
    says other things of a version than an earlier one; InputError for what is no entry.
    """
    head = Head()
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for data in entries:
        entry = _entry(dsse.verify(data, PAYLOAD_TYPE, keys, f"entry {head.number + 1} of the log"))
        if not entry.follows(head):
            raise VerificationError(
                f"entry {head.number + 1} of the log does not follow the one before: it says that it is number "
                f"{entry.number}",
                "the log was changed; compare it with an earlier copy",
            )
        if known.setdefault((entry.product, entry.version), entry.files) != entry.files:
            raise VerificationError(
                f"entry {entry.number} of the log has other files for '{entry.version}' than an earlier one",
                "a version never changes: ask who published it",
            )
        head = head_of(entry.number, data)
        yield entry, head


def _files(release: Release) -> tuple[str, ...]:
    return tuple(sorted({form.blob for form in release.files}))


def _digests(attached: Mapping[str, bytes]) -> dict[str, str]:
    others = {kind: data for kind, data in attached.items() if kind != attachments.LOG}
    return {kind: hashlib.sha256(data).hexdigest() for kind, data in sorted(others.items())}


def _entry(payload: bytes) -> Entry:
    try:
        values: Any = json.loads(payload)
        refuse_later(values["format"], FORMAT, WHAT)
        entry = Entry(**{name: values[name] for name in Entry.__dataclass_fields__})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{WHAT} is damaged", _DAMAGED) from error
    texts = (entry.previous, entry.product, entry.version, entry.created)
    if type(entry.number) is not int or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{WHAT} is damaged", _DAMAGED)
    if not isinstance(entry.files, list) or not isinstance(entry.attached, dict):
        raise InputError(f"{WHAT} is damaged", _DAMAGED)
    if not all(isinstance(digest, str) for digest in (*entry.files, *entry.attached.values())):
        raise InputError(f"{WHAT} is damaged", _DAMAGED)
    return Entry(entry.number, *texts, tuple(entry.files), entry.attached)
