"""Answers to devices as values: a status with headers and a body, or the blob that is the body; those about files.

For certificates the statuses are those of firmware; an archive was checked when it was published, and the device checks
it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..release.archive_record import ArchiveRecord
from ..release.records import Form
from .request import UpdateRequest

Headers = tuple[tuple[str, str], ...]

OFFERED, NOT_INCLUDED, HALTED, PAUSED = "offered", "not-included", "halted", "paused"
ANSWERED: Mapping[str, str] = {
    "update": OFFERED,
    "current": "current",
    "held": NOT_INCLUDED,
    "window": "outside-window",
    "pinned": "pinned",
    "loop": "looping",
    "space": "no-room",
    "chip_size": "small-chip",
    "flash_mode": "flash-mode",
    "gzip_core": "gzip-core",
    "board": "other-board",
    "platform": "other-chip",
    "proof": "unproven",
    "filesystem": "filesystem",
}
"""Why polls are answered as they are, in words for people, by the code of the decision. A device that is not to have
the channel's release yet is `not-included`, `paused` or `halted`, whether it waits or has the release before."""
REASONS = (*ANSWERED.values(), HALTED, PAUSED)


class PatchPair(NamedTuple):
    """What a patch is made of: the sketch MD5 of the base, the blob of that image, and the form that comes out."""

    base_md5: str
    base: str
    target: Form


@dataclass(frozen=True)
class Decision:
    """The answer: its body is the blob with the SHA-256 `blob`, of the release's `form`, or `body` where that is None.

    `code` is one word for logs and metrics, `reason` a sentence; `alarm` calls for a person; `answered` is one of
    REASONS, "" for what says nothing of the device. A patch of this `patch`
    may be sent in place of the form, to a device that has not had the release yet.
    """

    status: int
    headers: Headers
    code: str
    reason: str
    body: bytes = b""
    form: Form | None = None
    blob: str | None = None
    alarm: bool = False
    patch: PatchPair | None = None
    answered: str = ""


def text_answer(status: int, code: str, reason: str, headers: Headers = ()) -> Decision:
    """Return an answer without firmware: the sentence is its body, but for 304, which has none by definition."""
    shown: Headers = (("X-Otaseal-Reason", code), ("Cache-Control", "no-store"), *headers)
    if status == 304:
        return Decision(status, shown, code, reason)
    body = (reason + "\n").encode()
    kind: Headers = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))))
    return Decision(status, (*shown, *kind), code, reason, body)


def decide_archive(request: UpdateRequest, record: ArchiveRecord | None, missing: str) -> Decision:
    """Return the answer to a request for certificates; `missing` names what does not exist ("product", "archive")."""
    if record is None:
        return text_answer(404, "missing", f"there is no such {missing}")
    if request.certs == record.archive:
        return text_answer(304, "current", "the device has these certificates")
    before = "unknown certificates" if request.certs is None else f"certificates {request.certs[:16]}"
    reason = f"{before} to {record.archive[:16]}, {record.certificates} of them"
    return Decision(200, file_headers(record), "certs", reason, blob=record.blob)


def file_headers(file: Form | ArchiveRecord, *more: tuple[str, str]) -> Headers:
    """Return the headers of an answer with a whole file, and `more` of them."""
    return (
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(file.size)),
        ("x-MD5", file.md5),
        ("ETag", f'"{file.blob}"'),
        *more,
        ("Cache-Control", "no-store"),
        ("Accept-Ranges", "bytes"),
    )
