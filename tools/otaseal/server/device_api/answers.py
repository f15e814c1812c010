"""Requests of devices and the answers to them, as values: what `app` works on, and `connection` reads and sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import NamedTuple

from ...errors import CorruptStoreError, OtasealError
from ...protocol.answers import Headers
from ...protocol.proof import Proof
from ..choices import Choice
from ..tls import ClientCertificate
from .heads import Head
from .proofs import Identity

_RANGE = re.compile(r"bytes=(\d{0,10})-(\d{0,10})")

NO_CHOICE = Choice()


class DeviceRequest(NamedTuple):
    """A request: its head, the certificate that the client proved to have, its address, and its X-Otaseal-Proof.

    `mac` is the station's where the head does not have it; `identity` is who sent the request, where that has been
    found out: a proof holds once.
    """

    head: Head
    certificate: ClientCertificate | None = None
    address: str | None = None
    proof: Proof | None = None
    mac: str | None = None
    identity: Identity | None = None


class Answer(NamedTuple):
    """A response, and for the log what it was about; `delivers` is set when a device has all of a firmware with it.

    `proven`: the `device` proved its name. `form` is the kind of the firmware's form that the body is, or a part of.
    """

    status: int
    headers: Headers
    body: bytes | memoryview
    code: str
    reason: str
    device: str | None = None
    choice: Choice = NO_CHOICE
    delivers: bool = False
    alarm: bool = False
    proven: bool = False
    form: str = ""

    @property
    def counts(self) -> bool:
        """Whether it counts for the loop breaker that all of it arrives."""
        return self.delivers and self.device is not None


class LaterError(Exception):
    """An answer takes a disk: `work` is to be done in a thread of `executor`, None for any.

    It returns the answer, or None: then the request is to be answered once more.
    """

    def __init__(self, work: Callable[[], Answer | None], executor: Executor | None = None) -> None:
        super().__init__()
        self.work, self.executor = work, executor
        self.request: DeviceRequest | None = None
        """The request as it is to be answered once more."""


def fault(error: OtasealError) -> Answer:
    """Return the answer where the server cannot do what is asked."""
    code = "corrupt" if isinstance(error, CorruptStoreError) else "fault"
    return plain(503, code, error.message, alarm=True)


def plain(status: int, code: str, text: str, headers: Headers = (), *, alarm: bool = False) -> Answer:
    """Return an answer of one sentence, which is what the log has to say, too."""
    # What is wrong with the server is the log's, not the client's.
    body = b"the server cannot answer\n" if status >= 500 else f"{text}\n".encode("utf-8", "replace")
    fields = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers)
    return Answer(status, fields, body, code, text, alarm=alarm)


def ranged(answer: Answer, headers: Iterable[tuple[bytes, bytes]], blob: str) -> Answer:
    """Return the part of the body that one `Range` header asks for (RFC 9110, 14); anything odd gets the whole.

    A part that ends with the last byte delivers: a download that was interrupted is complete with it.
    """
    fields = {name: value.decode("latin-1") for name, value in headers if name in (b"range", b"if-range")}
    match = _RANGE.fullmatch(fields.get(b"range", ""))
    tag = fields.get(b"if-range")
    if match is None or match[0] == "bytes=-" or (tag is not None and tag != f'"{blob}"'):
        return answer
    size = len(answer.body)
    first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if match[1] and match[2] and int(match[2]) < first:
        return answer
    if first >= size:
        refused = plain(416, "range", "there is no such range", (("Content-Range", f"bytes */{size}"),))
        return refused._replace(device=answer.device, choice=answer.choice)
    part = memoryview(answer.body)[first : last + 1]
    # x-MD5 is over the bytes sent (F29), and a part has none
    others = tuple((name, value) for name, value in answer.headers if name not in ("Content-Length", "x-MD5"))
    lengths = (("Content-Length", str(len(part))), ("Content-Range", f"bytes {first}-{last}/{size}"))
    delivers = answer.delivers and last == size - 1
    return answer._replace(status=206, headers=(*others, *lengths), body=part, delivers=delivers, code="range")
