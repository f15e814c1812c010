"""Request bodies of operators: the files of a release, and JSON; bounded in size and time before anything is kept.

A body is read to its end even when it is refused, within bounds: a connection that is closed before would take the
answer with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import OtasealError
from ...release import attachments
from ...release.admission import Policy
from ...release.records import MAX_BOARDS

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_UPLOAD = 4 * Policy.max_size
"""Bytes of all files of a release: two forms of each board."""
MAX_BODY = MAX_UPLOAD + sum(attachments.LIMITS.values())
MAX_JSON = 128 * 1024
"""Of a JSON object: the longest are the notes on a release, of characters that are written as escapes."""
UPLOADS_AT_ONCE = 8
"""Uploads that are read at the same time, each of which is in memory."""
UPLOAD_SECONDS = 300.0
STALL_SECONDS, STALL_BYTES = 10.0, 16 * 1024
"""An upload that is not over has to bring so many bytes in that time."""
DRAIN_SECONDS, DRAIN_PAUSE = 10.0, 1.0  # in all; and without a byte, as clients send none that wait for the answer
_PARTS = re.compile(rf"[0-9]{{1,9}}(,[0-9]{{1,9}}){{0,{2 * MAX_BOARDS - 1}}}")
_KINDS = "|".join(attachments.LIMITS)
_ATTACHMENTS = re.compile(rf"(?:{_KINDS})=[0-9]{{1,9}}(?:,(?:{_KINDS})=[0-9]{{1,9}})*")


class Refused(OtasealError):
    """A request refused for the caller's rights or its size, with the HTTP status of the answer."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status


class Upload(NamedTuple):
    """The files of an upload, and the attachments that follow them, by kind."""

    files: list[bytes]
    attachments: dict[str, bytes]


async def read_upload(request: Request) -> Upload:
    """Return what is in the body, by the sizes in X-Otaseal-Parts and X-Otaseal-Attachments.

    Raises Refused, TimeoutError when it is slow.
    """
    length = _length(request)
    attached = _attachment_sizes(request.headers.get("x-otaseal-attachments", ""))
    files = _file_sizes(request.headers.get("x-otaseal-parts"), length - sum(attached.values()))
    body = memoryview(await read_body(request, length))
    ends = list(itertools.accumulate((*files, *attached.values())))
    parts = [bytes(body[begin:end]) for begin, end in zip((0, *ends), ends, strict=False)]
    return Upload(parts[: len(files)], dict(zip(attached, parts[len(files) :], strict=True)))


def _length(request: Request) -> int:
    length = request.headers.get("content-length")
    if length is None or not length.isascii() or not length.isdigit():
        raise Refused(411, "an upload without Content-Length", "send the firmware with its length")
    if int(length) > MAX_BODY:
        raise Refused(413, f"an upload of {length} bytes", f"{MAX_BODY} are the most")
    return int(length)


def _file_sizes(text: str | None, total: int) -> list[int]:
    """Return the sizes of the files, `total` together: by the header, of one file without it; raises Refused."""
    if total > MAX_UPLOAD:
        raise Refused(413, f"files of {total} bytes", f"{MAX_UPLOAD} are the most")
    sizes = str(total) if text is None else text
    if not _PARTS.fullmatch(sizes) or sum(map(int, sizes.split(","))) != total:
        raise Refused(400, f"X-Otaseal-Parts '{sizes[:64]}' do not add up to {total}", "give each file's size")
    return [int(size) for size in sizes.split(",")]


def _attachment_sizes(text: str) -> dict[str, int]:
    """Return the sizes of the attachments by kind, as the header has them; raises Refused."""
    if text and not _ATTACHMENTS.fullmatch(text):
        kinds = ", ".join(attachments.LIMITS)
        raise Refused(400, f"X-Otaseal-Attachments '{text[:64]}'", f"write kind=size, of {kinds}")
    pairs = [part.split("=") for part in text.split(",") if part]
    sizes = {kind: int(size) for kind, size in pairs}
    if len(sizes) < len(pairs):
        raise Refused(400, f"X-Otaseal-Attachments '{text[:64]}' names a kind twice", "send one of each kind")
    for kind, size in sizes.items():
        if size > attachments.LIMITS[kind]:
            raise Refused(413, f"the {kind} has {size} bytes", f"{attachments.LIMITS[kind]} are the most")
    return sizes


async def read_json(request: Request, known: Collection[str]) -> dict[str, Any]:
    """Return the JSON object in the body, whose keys are among `known`; raises Refused for anything else."""
    try:
        value = json.loads(await read_body(request, MAX_JSON), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON", "send a JSON object") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object", "send a JSON object")
    for name in value:
        if name not in known:
            raise Refused(400, f"'{name[:32]}' is not a field here", f"there are: {', '.join(known) or 'none'}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises Refused for a field that is there twice: readers take one or the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refused(400, "a field is there twice", "send each field once")
    return found


async def drain(request: Request) -> None:
    """Read and drop what is still coming: a connection that is closed before would take the answer with it."""
    from starlette.requests import ClientDisconnect

    deadline, taken = time.monotonic() + DRAIN_SECONDS, 0
    try:
        stream = request.stream()
        while taken <= MAX_BODY:
            left = min(deadline - time.monotonic(), DRAIN_PAUSE)
            taken += len(await asyncio.wait_for(stream.__anext__(), max(left, 0.01)))
    except (StopAsyncIteration, ClientDisconnect, asyncio.TimeoutError, RuntimeError):
        return


class UploadQueue:
    """The uploads that are read: one at a time of each operator, so that nobody holds up the others."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._own: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Return a context manager that waits until an upload of the operator `who` may be read."""
        self._waiting[who] += 1
        try:
            async with self._own.setdefault(who, asyncio.Lock()), self._all:
                yield
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who], self._own[who]


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; raises Refused beyond `limit` bytes, TimeoutError when it takes too long, or nearly stands."""
    body = bytearray()

    async def read() -> None:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > limit:
                raise Refused(413, f"a body of more than {limit} bytes", "send less")

    reading, end, seen = asyncio.ensure_future(read()), time.monotonic() + UPLOAD_SECONDS, 0
    try:
        while not (await asyncio.wait({reading}, timeout=STALL_SECONDS))[0]:
            if len(body) - seen < STALL_BYTES or time.monotonic() > end:
                raise asyncio.TimeoutError
            seen = len(body)
    finally:
        reading.cancel()
    reading.result()
    return bytes(body)
