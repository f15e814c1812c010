"""What a device that asks for certificates is answered: an update request and the channel's archive in, a decision out.

The statuses are those of firmware (F29): 200 with the whole signed archive, 304 for one that the device has, 404 for
none. Nothing else is judged here: an archive was admitted when it was published, and the device checks it itself.
"""

from __future__ import annotations

from ..chips.families import FAMILIES
from ..release.archive_record import ArchiveRecord
from .decisions import Decision, text_answer
from .request import UpdateRequest

__all__ = ["decide"]


def decide(request: UpdateRequest, record: ArchiveRecord | None, missing: str) -> Decision:
    """Return the answer for the channel's archive; `missing` names what there is not ("product", "archive")."""
    if record is None:
        return text_answer(404, "missing", f"there is no such {missing}")
    family = FAMILIES.get(request.family)
    if family is not None and not family.published:
        return text_answer(403, "platform", f"there are no certificates yet for devices of the {family.name} family")
    if request.certs == record.archive:
        return text_answer(304, "current", "the device has these certificates")
    headers = (
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(record.size)),
        ("x-MD5", record.md5),
        ("ETag", f'"{record.blob}"'),
        ("Cache-Control", "no-store"),
        ("Accept-Ranges", "bytes"),
    )
    had = "unknown certificates" if request.certs is None else f"certificates {request.certs[:16]}"
    reason = f"{had} to {record.archive[:16]}, {record.certificates} of them"
    return Decision(200, None, headers, b"", "certs", reason, blob=record.blob)
